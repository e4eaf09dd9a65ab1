import RedisClient

/// The scripts that count users.
///
/// A command may reach the engine long after its node has given it up, for example when a network heals. So each has the
/// era in which it was sent: a node begins another one whenever the outcome of a command is unknown, and the engine
/// refuses what comes from an older one. After a lost node was cleared up, it refuses everything of this incarnation.
enum UserScripts {
    /// The era that comes after all others.
    static let lastEra: Int64 = 9_007_199_254_740_991
    /// How long an era is remembered after it began, in milliseconds.
    private static let eraTime: Int64 = 86_400_000

    /// Sets how many connections a user has on a node: as many as are wanted, as far as the limit allows, but never less
    /// than there are already.
    ///
    /// - Keys: connections of the user, users of the node, era of the node, changes.
    /// - Arguments: incarnation, era, how many connections there are, how many are wanted, the limit, user, `PUBLISH` or
    ///   `SPUBLISH` or empty, topic.
    /// - Returns: how many count, -1 if the era is over; on how many nodes the user is; the number of changes.
    static let count = RedisScript(
        """
        local era, mine = tonumber(redis.call('GET', KEYS[3]) or 0), tonumber(ARGV[2])
        if era and era > mine then return {-1, 0, 0} end
        if not era or era < mine then redis.call('SET', KEYS[3], ARGV[2], 'PX', \(eraTime)) end
        local fields = redis.call('HGETALL', KEYS[1])
        local others, before = 0, #fields / 2
        for index = 1, #fields, 2 do
          if fields[index] ~= ARGV[1] and string.match(fields[index + 1], '^%d+$') then
            others = others + tonumber(fields[index + 1])
          end
        end
        local number = math.max(tonumber(ARGV[3]), math.min(tonumber(ARGV[4]), tonumber(ARGV[5]) - others))
        if number > 0 then
          redis.call('HSET', KEYS[1], ARGV[1], string.format('%d', number))
          redis.call('SADD', KEYS[2], ARGV[6])
        else
          redis.call('HDEL', KEYS[1], ARGV[1])
          redis.call('SREM', KEYS[2], ARGV[6])
        end
        local after, changes = redis.call('HLEN', KEYS[1]), 0
        if ARGV[7] ~= '' then
          if after ~= before and (after > 1 or before > 1) then
            changes = redis.call('INCR', KEYS[4])
            redis.call(ARGV[7], ARGV[8], string.format('%d %d ', changes, after) .. ARGV[6])
          else
            changes = tonumber(redis.call('GET', KEYS[4]) or 0) or 0
          end
        end
        return {number, after, changes}
        """
    )

    /// Removes some users of a lost node.
    ///
    /// - Keys: users of the node, era of the node, changes.
    /// - Arguments: incarnation, the name of connections without the user, the most users, `PUBLISH` or `SPUBLISH` or
    ///   empty, topic.
    /// - Returns: how many there were.
    static let clear = RedisScript(
        """
        redis.call('SET', KEYS[2], '\(lastEra)', 'PX', \(eraTime))
        local names = redis.call('SPOP', KEYS[1], ARGV[3])
        for _, name in ipairs(names) do
          local key = ARGV[2] .. name
          if redis.call('HDEL', key, ARGV[1]) == 1 and ARGV[4] ~= '' then
            local after = redis.call('HLEN', key)
            if after > 0 then
              local changes = redis.call('INCR', KEYS[3])
              redis.call(ARGV[4], ARGV[5], string.format('%d %d ', changes, after) .. name)
            end
          end
        end
        return #names
        """
    )
}
