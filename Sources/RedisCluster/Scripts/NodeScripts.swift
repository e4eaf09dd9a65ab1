import RedisClient

/// The scripts for the list of nodes.
enum NodeScripts {
    /// A node tells that it is alive.
    ///
    /// - Keys: nodes, lost nodes, lost nodes with connections, the version of the bans.
    /// - Arguments: incarnation, record, 1 if it has to be in the list already.
    /// - Returns: 1 if it was not in the list; the incarnations and records of all nodes; the incarnations of lost nodes,
    ///   and of those with connections; the version of the bans, 0 without any.
    static let renew = RedisScript(
        """
        local isNew = 1 - redis.call('HEXISTS', KEYS[1], ARGV[1])
        if isNew == 0 or ARGV[3] == '0' then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end
        local function keys(name)
          local found = redis.pcall('HKEYS', name)
          return found.err and {} or found
        end
        local version = redis.pcall('GET', KEYS[4])
        return {
          isNew, redis.call('HGETALL', KEYS[1]), keys(KEYS[2]), keys(KEYS[3]),
          tonumber(type(version) == 'string' and version or '0') or 0
        }
        """
    )

    /// A node is lost.
    ///
    /// - Keys: nodes, lost nodes, lost nodes with connections.
    /// - Arguments: incarnation.
    /// - Returns: 1 if it was in the list.
    static let bury = RedisScript(
        """
        if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
        -- Before it leaves the list, so that nothing is forgotten when one of them fails.
        redis.call('HSET', KEYS[2], ARGV[1], 1)
        redis.call('HSET', KEYS[3], ARGV[1], 1)
        return redis.call('HDEL', KEYS[1], ARGV[1])
        """
    )

    /// Removes a node from some of its channels; then takes over what it owes the app.
    ///
    /// - Keys: channels of the node, its publications, channel events that it owes the app, those that this one owes.
    /// - Arguments: incarnation, the name of nodes without the channel, the most channels, 1 with `CHANNEL_EVENTS`.
    /// - Returns: 1 if there may be more; channels that no node subscribes to any more; channels that have subscribers, and
    ///   of which the app may not know it.
    static let clear = RedisScript(
        """
        local vacated, occupied = {}, {}
        local names = redis.call('SPOP', KEYS[1], ARGV[3])
        for _, name in ipairs(names) do
          local key = ARGV[2] .. name
          if redis.call('HDEL', key, ARGV[1]) == 1 and redis.call('EXISTS', key) == 0 then
            vacated[#vacated + 1] = name
            if ARGV[4] == '1' then redis.call('HSET', KEYS[4], name, 'v') end
          end
        end
        if #names > 0 then return {1, vacated, occupied} end
        -- Kept a while: a node that was only cut off may send again what it has published.
        redis.call('PEXPIRE', KEYS[2], 3600000)
        if KEYS[3] == KEYS[4] then return {0, vacated, occupied} end
        local owed = redis.call('HRANDFIELD', KEYS[3], ARGV[3])
        for _, name in ipairs(owed) do
          local kind, exists = redis.call('HGET', KEYS[3], name), redis.call('EXISTS', ARGV[2] .. name)
          redis.call('HDEL', KEYS[3], name)
          if kind == 'o' and exists == 1 then
            occupied[#occupied + 1] = name
            redis.call('HSET', KEYS[4], name, 'o')
          elseif kind == 'v' and exists == 0 then
            vacated[#vacated + 1] = name
            redis.call('HSET', KEYS[4], name, 'v')
          end
        end
        return {math.min(1, #owed), vacated, occupied}
        """
    )
}
