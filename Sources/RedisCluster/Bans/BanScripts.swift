import RedisClient

/// The scripts that keep bans.
///
/// A ban is `VERSION UNTIL REST`, of which a script reads when it ends, in milliseconds since 1970 by the engine's clock.
/// Each change has a number and is published: `1 NUMBER LENGTH SUBJECT BAN`, with the length of the subject in bytes and
/// no ban when one was ended; without anything behind the number where everything is to be read again.
enum BanScripts {
    /// How many bans there may be.
    static let capacity = 10_000
    /// More changes than there can be; numbers of Redis' scripts are exact up to here.
    static let mostChanges: Int64 = 1 << 53
    /// The end of the year 9999, in milliseconds since 1970.
    static let latest: Int64 = 253_402_300_799_999

    private static let time = """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        """

    /// Adds a ban, or changes an existing one. Those that have ended are removed when more than half of the capacity is
    /// used.
    ///
    /// - Keys: bans, number of changes, next end.
    /// - Arguments: subject, ban, its end, 1 if it is automatic, `PUBLISH` or `SPUBLISH`, topic.
    /// - Returns: `added`, `replaced`, `full`, or `kept` when an automatic one would have shortened another; the number
    ///   of changes; the ban that holds now, empty for none.
    static let put = RedisScript(
        """
        \(time)
        local known = redis.call('HGET', KEYS[1], ARGV[1])
        local ends = known and tonumber(string.match(known, '^%d+ (%d+) '))
        local lives = ends and ends > now
        local isAutomatic = ARGV[4] == '1'
        if isAutomatic and lives and ends >= tonumber(ARGV[3]) then
          return {'kept', tonumber(redis.call('GET', KEYS[2]) or 0) or 0, known}
        end
        if not known then
          local count, half = redis.call('HLEN', KEYS[1]), \(capacity / 2)
          local due = tonumber(redis.call('GET', KEYS[3]) or 0) or 0
          if count >= half and due <= now then
            local bans, next = redis.call('HGETALL', KEYS[1]), now + 3600000
            for index = 1, #bans, 2 do
              local last = tonumber(string.match(bans[index + 1], '^%d+ (%d+) '))
              if not last or last <= now then
                redis.call('HDEL', KEYS[1], bans[index])
                count = count - 1
              elseif last < next then
                next = last
              end
            end
            redis.call('SET', KEYS[3], string.format('%d', next), 'PX', 3600000)
          end
          if count >= (isAutomatic and half or \(capacity)) then return {'full', 0, ''} end
        end
        redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
        local next = tonumber(redis.call('GET', KEYS[3]) or 0) or 0
        if next > tonumber(ARGV[3]) then redis.call('SET', KEYS[3], ARGV[3], 'PX', 3600000) end
        local number = redis.call('INCR', KEYS[2])
        redis.call(ARGV[5], ARGV[6], string.format('1 %d %d ', number, #ARGV[1]) .. ARGV[1] .. ' ' .. ARGV[2])
        return {lives and 'replaced' or 'added', number, ARGV[2]}
        """
    )

    /// Ends a ban.
    ///
    /// - Keys: bans, number of changes.
    /// - Arguments: subject, `PUBLISH` or `SPUBLISH`, topic.
    /// - Returns: 1 if it was in force; the number of changes.
    static let remove = RedisScript(
        """
        \(time)
        local known = redis.call('HGET', KEYS[1], ARGV[1])
        if not known then return {0, tonumber(redis.call('GET', KEYS[2]) or 0) or 0} end
        redis.call('HDEL', KEYS[1], ARGV[1])
        local number = redis.call('INCR', KEYS[2])
        redis.call(ARGV[2], ARGV[3], string.format('1 %d %d ', number, #ARGV[1]) .. ARGV[1] .. ' ')
        local ends = tonumber(string.match(known, '^%d+ (%d+) '))
        return {(ends and ends > now) and 1 or 0, number}
        """
    )

    /// Reads all bans, or about as many as there may be.
    ///
    /// - Keys: bans, number of changes.
    /// - Returns: the number of changes, the engine's time in ms, how many bans there are; subjects and bans in turn.
    static let load = RedisScript(
        """
        \(time)
        local count = redis.call('HLEN', KEYS[1])
        local bans
        if count <= \(capacity) then
          bans = redis.call('HGETALL', KEYS[1])
        else
          bans = redis.call('HSCAN', KEYS[1], 0, 'COUNT', \(capacity))[2]
        end
        return {tonumber(redis.call('GET', KEYS[2]) or 0) or 0, string.format('%d', now), count, bans}
        """
    )

    /// Puts bans back that the engine has lost, where there is none for the subject. It does nothing when there have been
    /// more changes than the node knows, so that no ban comes back that was ended in the meantime.
    ///
    /// - Keys: bans, number of changes, next end.
    /// - Arguments: the known number of changes, `PUBLISH` or `SPUBLISH`, topic; subjects and bans in turn.
    /// - Returns: how many were put back; the number of changes.
    static let restore = RedisScript(
        """
        local before, known = tonumber(redis.call('GET', KEYS[2]) or 0) or 0, tonumber(ARGV[1])
        if before > known then return {0, before} end
        local count, restored = redis.call('HLEN', KEYS[1]), 0
        for index = 4, #ARGV - 1, 2 do
          if count < \(capacity) and redis.call('HSETNX', KEYS[1], ARGV[index], ARGV[index + 1]) == 1 then
            count, restored = count + 1, restored + 1
          end
        end
        if restored == 0 and before == known then return {0, before} end
        redis.call('SET', KEYS[2], string.format('%d', known + 1))
        redis.call('DEL', KEYS[3])
        redis.call(ARGV[2], ARGV[3], string.format('1 %d', known + 1))
        return {restored, known + 1}
        """
    )
}
