import RedisClient

/// The scripts for the connections of nodes.
enum DirectoryScripts {
    /// A node registers connections, and strikes others.
    ///
    /// - Keys: registered, buried.
    /// - Arguments: how many are registered, the id and record of each, the ids of those that are struck.
    /// - Returns: 1; 0 when the node was lost: then nothing is registered.
    static let change = RedisScript(
        """
        local count = tonumber(ARGV[1])
        for index = 2 + 2 * count, #ARGV do redis.call('HDEL', KEYS[1], ARGV[index]) end
        if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
        for index = 0, count - 1 do redis.call('HSET', KEYS[1], ARGV[2 + 2 * index], ARGV[3 + 2 * index]) end
        return 1
        """
    )

    /// A node takes some connections of a lost one, to tell the app of their end.
    ///
    /// - Keys: registered, claims, buried, taken.
    /// - Arguments: the claiming node, the most connections, how long the lost node stays buried in ms.
    /// - Returns: how many have been taken before, how many are left, then the id and record of each that is taken.
    static let claim = RedisScript(
        """
        redis.call('SET', KEYS[3], 1, 'PX', ARGV[3], 'NX')
        -- What no node can read does not stay for ever.
        for index = 1, 2 do
          if redis.call('PTTL', KEYS[index]) == -1 then redis.call('PEXPIRE', KEYS[index], ARGV[3]) end
        end
        local taken = {}
        if tonumber(ARGV[2]) > 0 then
          for _, id in ipairs(redis.call('HRANDFIELD', KEYS[1], ARGV[2])) do
            local record = redis.call('HGET', KEYS[1], id)
            redis.call('HSET', KEYS[2], id, ARGV[1] .. ' ' .. record)
            redis.call('SADD', KEYS[4], id)
            redis.call('HDEL', KEYS[1], id)
            taken[#taken + 1] = id
            taken[#taken + 1] = record
          end
          redis.call('PEXPIRE', KEYS[4], ARGV[3])
        end
        local before = redis.call('HLEN', KEYS[2]) - #taken / 2
        return {before, redis.call('HLEN', KEYS[1]), unpack(taken)}
        """
    )

    /// Gives back what nodes have taken that are not alive any more.
    ///
    /// - Keys: registered, claims, taken.
    /// - Arguments: the nodes that are alive.
    /// - Returns: how many were given back.
    static let giveBack = RedisScript(
        """
        local alive, count = {}, 0
        for _, node in ipairs(ARGV) do alive[node] = true end
        local entries = redis.call('HGETALL', KEYS[2])
        for index = 1, #entries, 2 do
          local node, record = string.match(entries[index + 1], '^(%S+) (.*)$')
          if not alive[node] then
            redis.call('HDEL', KEYS[2], entries[index])
            redis.call('SREM', KEYS[3], entries[index])
            if record then redis.call('HSET', KEYS[1], entries[index], record) end
            count = count + 1
          end
        end
        return count
        """
    )

    /// A node gives back one connection that it has taken, unless another one has it meanwhile.
    ///
    /// - Keys: registered, claims, taken.
    /// - Arguments: id, record.
    static let giveBackOne = RedisScript(
        """
        if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then return 0 end
        redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
        redis.call('SREM', KEYS[3], ARGV[1])
        return redis.call('HDEL', KEYS[2], ARGV[1])
        """
    )

    /// A node gives up an identity, and takes its connections along. Repeats have the same answer.
    ///
    /// - Keys: registered, buried, taken.
    /// - Arguments: how long the identity stays buried in ms.
    /// - Returns: the ids of the connections that other nodes have taken.
    static let recover = RedisScript(
        """
        redis.call('SET', KEYS[2], 1, 'PX', ARGV[1])
        redis.call('DEL', KEYS[1])
        return redis.call('SMEMBERS', KEYS[3])
        """
    )

    /// An earlier process of this node asks for its connections.
    ///
    /// - Keys: registered, claims.
    /// - Arguments: ids.
    /// - Returns: for each 2 when it was registered, and is struck now; 1 when another node has claimed it; else 0.
    static let reclaim = RedisScript(
        """
        local found = {}
        for index, id in ipairs(ARGV) do
          if redis.call('HDEL', KEYS[1], id) == 1 then found[index] = 2
          else found[index] = redis.call('HEXISTS', KEYS[2], id) end
        end
        return found
        """
    )
}
