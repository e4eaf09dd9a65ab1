import RedisClient

/// The scripts for the list of nodes.
enum NodeScripts {
    /// A node tells that it is alive.
    ///
    /// - Keys: nodes, lost nodes.
    /// - Arguments: incarnation, record.
    /// - Returns: 1 if it was not in the list; the incarnations and records of all nodes; the incarnations of lost nodes.
    static let renew = RedisScript(
        """
        local isNew = redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
        return {isNew, redis.call('HGETALL', KEYS[1]), redis.call('HKEYS', KEYS[2])}
        """
    )

    /// A node is lost.
    ///
    /// - Keys: nodes, lost nodes.
    /// - Arguments: incarnation.
    /// - Returns: 1 if it was in the list.
    static let bury = RedisScript(
        """
        if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
        redis.call('HSET', KEYS[2], ARGV[1], 1)
        return 1
        """
    )

    /// Removes a node from some of its channels.
    ///
    /// - Keys: channels of the node, its publications.
    /// - Arguments: incarnation, the name of nodes without the channel, the most channels.
    /// - Returns: how many there were; those that no node subscribes to any more.
    static let clear = RedisScript(
        """
        local vacated = {}
        local names = redis.call('SPOP', KEYS[1], ARGV[3])
        for _, name in ipairs(names) do
          local key = ARGV[2] .. name
          if redis.call('HDEL', key, ARGV[1]) == 1 and redis.call('EXISTS', key) == 0 then
            vacated[#vacated + 1] = name
          end
        end
        if #names == 0 then redis.call('DEL', KEYS[2]) end
        return {#names, vacated}
        """
    )
}
