import RedisClient

/// What the server does in one step.
enum IngestScripts {
    /// Takes the lease if nobody else has it, and makes what reading needs.
    ///
    /// Keys: lease, source, stream. Arguments: our token, the lease's length in milliseconds, a random name for the
    /// source, the group, and behind which entry a new group begins. Answers 0 when another node has it; otherwise the
    /// source's name, and 1 when the group was made.
    static let acquire = RedisScript(
        """
        local holder = redis.call('GET', KEYS[1])
        -- What never expires is no lease: somebody else has written it.
        if holder and holder ~= ARGV[1] and redis.call('PTTL', KEYS[1]) ~= -1 then return 0 end
        local start = ARGV[5]
        if start ~= '0' then
            -- A stream that ends before the entry is another one than that in which it was.
            local function parts(id)
                local time, number = string.match(id, '^(%d+)-(%d+)$')
                return tonumber(time) or 0, tonumber(number) or 0
            end
            local last = '0-0'
            local info = redis.pcall('XINFO', 'STREAM', KEYS[3])
            if info and not info.err then
                for index = 1, #info, 2 do
                    if info[index] == 'last-generated-id' then last = info[index + 1] end
                end
            end
            local time, number = parts(last)
            local wantedTime, wantedNumber = parts(start)
            if time < wantedTime or (time == wantedTime and number < wantedNumber) then start = '0' end
        end
        local made = 1
        local group = redis.pcall('XGROUP', 'CREATE', KEYS[3], ARGV[4], start, 'MKSTREAM')
        if group.err then
            if string.sub(group.err, 1, 9) ~= 'BUSYGROUP' then return group end
            made = 0
        end
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
        redis.call('SET', KEYS[2], ARGV[3], 'NX')
        return {redis.call('GET', KEYS[2]), made}
        """
    )

    /// Renews the lease. Keys: lease. Arguments: our token, the lease's length in milliseconds. Answers 0 when it is not
    /// ours.
    static let renew = RedisScript(
        """
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call('PEXPIRE', KEYS[1], ARGV[2])
        """
    )

    /// Gives up the lease. Keys: lease. Arguments: our token.
    static let release = RedisScript(
        """
        if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call('DEL', KEYS[1])
        """
    )

    /// Reads entries for the holder of the lease.
    ///
    /// Who has lost the lease without knowing must take nothing, since the next reader would not look for it. A few
    /// entries at a time, so that neither this script nor its answer becomes large, whatever is in the stream.
    ///
    /// Keys: stream, lease. Arguments: our token, the group, the consumer; `>` for new entries, or behind which of those
    /// that were taken; the most entries, the most bytes of all, the most bytes of one. Answers 0 when the lease is not
    /// ours; otherwise the server's time in milliseconds; 1 if there may be more, 2 if there are some that were taken and
    /// had no room; the last entry that was taken when there is no new one; and the entries: id and fields, or the size
    /// of fields that are too large, or null for an entry that was removed.
    static let read = RedisScript(
        """
        if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
        local cursor, left = ARGV[4], tonumber(ARGV[5])
        local room, limit = tonumber(ARGV[6]), tonumber(ARGV[7])
        local entries, last, more = {}, false, 1
        while left > 0 and room > 0 do
            local reply = redis.pcall(
                'XREADGROUP', 'GROUP', ARGV[2], ARGV[3], 'COUNT', math.min(left, 16), 'STREAMS', KEYS[1], cursor)
            if reply and reply.err then
                -- What was taken before has to be answered.
                if #entries == 0 then return reply end
                break
            end
            local taken = reply and reply[1] and reply[1][2] or {}
            for _, entry in ipairs(taken) do
                if room <= 0 then
                    more = 2
                    break
                end
                local fields = entry[2]
                if fields then
                    local size = 0
                    for index = 1, #fields do size = size + #fields[index] + 16 end
                    if size > limit then fields = size else room = room - size end
                end
                entries[#entries + 1] = {entry[1], fields}
                left = left - 1
                if cursor ~= '>' then cursor = entry[1] end
            end
            if #taken == 0 then
                more = 0
                break
            end
        end
        if #entries == 0 and cursor == '>' then
            for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do
                local name
                for index = 1, #group, 2 do
                    if group[index] == 'name' then name = group[index + 1] end
                    if group[index] == 'last-delivered-id' and name == ARGV[2] then last = group[index + 1] end
                end
            end
        end
        local time = redis.call('TIME')
        return {time[1] * 1000 + math.floor(time[2] / 1000), more, last, entries}
        """
    )
}
