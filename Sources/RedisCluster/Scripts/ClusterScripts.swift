import RedisClient

/// The scripts that Redis runs; each touches keys of one hash tag only.
///
/// A channel's head is a string, `EPOCH OFFSET ID BEGAN`, so that one command writes it and sets its expiry; the last part
/// is when the epoch began, in milliseconds since 1970. Anything else found there is treated as no head: with the next
/// publication or question a new epoch begins.
enum ClusterScripts {
    /// The id before the first message of an epoch.
    static let noID = "0000000000000000"

    /// Matches a head, and captures epoch, offset and id.
    private static let headPattern = "'^(%w+) (%d+) (%x+) %d+$'"

    /// Reads a head that a node has written.
    private static let readHead = """
        local epoch, offset, last, began
        local head = redis.call('GET', KEYS[1])
        if head then epoch, offset, last, began = string.match(head, '^(%w+) (%d+) (%x+) (%d+)$') end
        if epoch and (#epoch > 13 or #offset > 15 or #last ~= 16 or #began > 15) then epoch = nil end
        """

    /// Defines `milliseconds()`, the engine's time since 1970.
    private static let clock = """
        local function milliseconds()
          local time = redis.call('TIME')
          return string.format('%d', time[1] * 1000 + math.floor(time[2] / 1000))
        end
        """

    /// Defines `begin(OFFSET, ISLOSS)`, which begins a new epoch. After a loss the epoch of the tag's counter changes too,
    /// so that nodes ask about the channel although nothing is published there.
    ///
    /// - Parameters:
    ///   - counter: The key of the counter.
    ///   - arguments: The new epoch, a new id, and how long the head is kept in ms.
    private static func begin(counter: String, _ arguments: (String, String, String)) -> String {
        """
        \(clock)
        local function begin(after, isLoss)
          epoch, offset, last = \(arguments.0), string.format('%d', after), \(arguments.1)
          local point = epoch .. ' ' .. offset .. ' ' .. last
          redis.call('SET', KEYS[1], point .. ' ' .. milliseconds(), 'PX', \(arguments.2))
          redis.call('DEL', KEYS[2])
          if isLoss then redis.call('HSET', \(counter), 'e', epoch) end
        end
        """
    }

    /// Publishes one message, once for each number of a node.
    ///
    /// - Keys: head, history, published, counter, index, and the idempotency key if there is one.
    /// - Arguments: id, number, history size, history TTL in ms, a new epoch, how long the head is kept in ms, `PUBLISH`
    ///   or `SPUBLISH`, topic, body, channel, how long the idempotency key is kept in ms, the index's names of history
    ///   and nodes without the channel.
    /// - Returns: `EPOCH OFFSET ID PREDECESSOR TIME`, with `= ` before it when the idempotency key was known.
    static let publish = RedisScript(
        """
        local place = ARGV[2] % 256
        local known = redis.call('HGET', KEYS[3], place)
        if known then
          local number, answer = string.match(known, '^(%d+) (.*)$')
          if number == ARGV[2] then return answer end
        end
        if KEYS[6] then
          local first = redis.call('GET', KEYS[6])
          if first then return '= ' .. first end
        end
        \(readHead)
        \(clock)
        local now = milliseconds()
        if not epoch then
          epoch, offset, last, began = ARGV[5], 0, '\(noID)', now
          redis.call('DEL', KEYS[2])
        end
        offset = string.format('%d', offset + 1)
        local point = epoch .. ' ' .. offset .. ' ' .. ARGV[1]
        local answer = point .. ' ' .. last .. ' ' .. now
        local frame = '1 ' .. answer .. '\\n' .. ARGV[9]
        redis.call('SET', KEYS[1], point .. ' ' .. began, 'PX', ARGV[6])
        if ARGV[3] ~= '0' then
          redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[3], offset .. '-0', 'm', frame)
          redis.call('PEXPIRE', KEYS[2], ARGV[4])
          if redis.call('XLEN', KEYS[2]) == 1 then
            redis.call('ZADD', KEYS[5], 0, ARGV[10])
            \(sweep("ARGV[12]", "ARGV[13]", index: "KEYS[5]"))
          end
        end
        redis.call('HSET', KEYS[3], place, ARGV[2] .. ' ' .. answer)
        redis.call('PEXPIRE', KEYS[3], 3600000)
        if redis.call('HINCRBY', KEYS[4], 'n', 1) == 1 then redis.call('HSET', KEYS[4], 'e', ARGV[5]) end
        if KEYS[6] then redis.call('SET', KEYS[6], answer, 'PX', ARGV[11]) end
        redis.call(ARGV[7], ARGV[8], frame)
        return answer
        """
    )

    /// Looks at two names of the index, and removes those of channels that have neither a history nor subscribers, so that
    /// it does not grow without a bound.
    private static func sweep(_ history: String, _ nodes: String, index: String) -> String {
        """
        for _, name in ipairs(redis.call('ZRANDMEMBER', \(index), 2)) do
              if redis.call('EXISTS', \(history) .. name, \(nodes) .. name) == 0 then
                redis.call('ZREM', \(index), name)
              end
            end
        """
    }

    /// A node subscribes to a channel, or asks again where it is, and gets what it has not received.
    ///
    /// An offset that the engine has lost, or has given to another message, begins a new epoch.
    ///
    /// - Keys: head, history, nodes, channels of the node, index, counter, channel events that the node owes the app (only
    ///   with `CHANNEL_EVENTS`).
    /// - Arguments: channel, incarnation, a new epoch, a new id, how long the head is kept in ms, the known epoch (empty
    ///   for none), offset and id, the most messages and bytes, the names of history and nodes without the channel.
    /// - Returns: 1 if no node had subscribed before, else 0; `head` without a known point, `all`, `part` if more
    ///   messages follow, or `gap`; epoch, offset and id of the last message; the messages.
    static let follow = RedisScript(
        """
        local isFirst = 0
        if redis.call('HSET', KEYS[3], ARGV[2], 1) == 1 then
          if redis.call('HLEN', KEYS[3]) == 1 then
            isFirst = 1
            if KEYS[7] then redis.call('HSET', KEYS[7], ARGV[1], 'o') end
          end
          redis.call('SADD', KEYS[4], ARGV[1])
          if redis.call('ZADD', KEYS[5], 0, ARGV[1]) == 1 then
            \(sweep("ARGV[11]", "ARGV[12]", index: "KEYS[5]"))
          end
        end
        -- The answer to an earlier question may have been lost.
        if KEYS[7] and redis.call('HGET', KEYS[7], ARGV[1]) == 'o' then isFirst = 1 end
        \(readHead)
        \(begin(counter: "KEYS[6]", ("ARGV[3]", "ARGV[4]", "ARGV[5]")))
        if not epoch then
          begin(tonumber(ARGV[7]) or 0, ARGV[6] ~= '')
        else
          redis.call('PEXPIRE', KEYS[1], ARGV[5])
        end
        if ARGV[6] == '' then return {isFirst, 'head', epoch, offset, last, {}} end
        local known, current = tonumber(ARGV[7]) or 0, tonumber(offset)
        if epoch ~= ARGV[6] then return {isFirst, 'gap', epoch, offset, last, {}} end
        if known == current and last == ARGV[8] then return {isFirst, 'all', epoch, offset, last, {}} end
        if known >= current then
          begin(known, true)
          return {isFirst, 'gap', epoch, offset, last, {}}
        end
        local entries = redis.call('XRANGE', KEYS[2], string.format('%d-0', known + 1), '+', 'COUNT', ARGV[9])
        local first = entries[1]
        if not first or first[1] ~= string.format('%d-0', known + 1) then
          return {isFirst, 'gap', epoch, offset, last, {}}
        end
        local before = string.match(first[2][2], '^1 %w+ %d+ %x+ (%x+) ')
        if before ~= ARGV[8] then
          begin(current, true)
          return {isFirst, 'gap', epoch, offset, last, {}}
        end
        local frames, bytes, reached = {}, 0, known
        for _, entry in ipairs(entries) do
          bytes = bytes + #entry[2][2]
          if #frames > 0 and bytes > tonumber(ARGV[10]) then break end
          frames[#frames + 1] = entry[2][2]
          reached = reached + 1
        end
        return {isFirst, reached < current and 'part' or 'all', epoch, offset, last, frames}
        """
    )

    /// A node no longer subscribes to a channel.
    ///
    /// - Keys: nodes, channels of the node, channel events that the node owes the app (only with `CHANNEL_EVENTS`).
    /// - Arguments: channel, incarnation, 1 if the app is to be told although the engine does not know that the node was
    ///   there.
    /// - Returns: 1 if no node is left, else 0.
    static let leave = RedisScript(
        """
        redis.call('SREM', KEYS[2], ARGV[1])
        local hasLeft = redis.call('HDEL', KEYS[1], ARGV[2])
        if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
        if not KEYS[3] then return hasLeft end
        if hasLeft == 1 or ARGV[3] == '1' then redis.call('HSET', KEYS[3], ARGV[1], 'v') end
        -- The answer to an earlier attempt may have been lost.
        return redis.call('HGET', KEYS[3], ARGV[1]) == 'v' and 1 or 0
        """
    )

    /// The app has been told of a channel, or need not be.
    ///
    /// - Keys: channel events that the node owes the app.
    /// - Arguments: channel, `o` or `v`.
    static let told = RedisScript(
        """
        if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then return redis.call('HDEL', KEYS[1], ARGV[1]) end
        return 0
        """
    )

    /// Finds those publications of a node that the engine does not have any more.
    ///
    /// Where a later publication has taken the place of one, that one was stored here too: it is sent when the earlier one
    /// has been answered, and comes behind this question.
    ///
    /// - Keys: published.
    /// - Arguments: their numbers.
    /// - Returns: the numbers of those that are lost.
    static let findLost = RedisScript(
        """
        local places, lost = {}, {}
        local entries = redis.call('HGETALL', KEYS[1])
        for index = 1, #entries, 2 do
          places[entries[index]] = tonumber(string.match(entries[index + 1], '^(%d+) '))
        end
        for _, number in ipairs(ARGV) do
          local found = places[string.format('%d', number % 256)]
          if not found or found < tonumber(number) then lost[#lost + 1] = number end
        end
        return lost
        """
    )

    /// Begins a new epoch in a channel that has lost a publication, so that all subscribers are told; unless one has begun
    /// since it was published. The two times may be those of two servers, whose clocks have to agree.
    ///
    /// - Keys: head, history, counter.
    /// - Arguments: when the publication was stored in ms, a new epoch, a new id, how long the head is kept in ms.
    /// - Returns: 1 if the epoch is new, else 0.
    static let tellLost = RedisScript(
        """
        \(readHead)
        \(begin(counter: "KEYS[3]", ("ARGV[2]", "ARGV[3]", "ARGV[4]")))
        if not epoch or tonumber(began) > tonumber(ARGV[1]) then return 0 end
        begin(offset, true)
        return 1
        """
    )

    /// Reads what a subscriber has not received, the newest message first.
    ///
    /// - Keys: head, history.
    /// - Arguments: known epoch (empty for any), offset, the first digits of the id, how long messages are kept in ms, the
    ///   most bytes, what each message costs beyond its own bytes.
    /// - Returns: epoch, offset and id of the last message, empty without one; 1 if the messages are all that follow the
    ///   known one; the messages.
    static let replay = RedisScript(
        """
        local head = redis.call('GET', KEYS[1])
        local epoch, offset, last
        if head then epoch, offset, last = string.match(head, \(headPattern)) end
        if not epoch then return {'', '0', '', 0, {}} end
        local known, current = tonumber(ARGV[2]) or 0, tonumber(offset)
        if (ARGV[1] ~= '' and ARGV[1] ~= epoch) or known > current then return {epoch, offset, last, 0, {}} end
        if known == current then
          return {epoch, offset, last, string.sub(last, 1, #ARGV[3]) == ARGV[3] and 1 or 0, {}}
        end
        \(clock)
        local oldest = milliseconds() - ARGV[4]
        local frames, room, before = {}, tonumber(ARGV[5]), current + 1
        local upper = '+'
        while before > known + 1 do
          local entries = redis.call('XREVRANGE', KEYS[2], upper, string.format('%d-0', known + 1), 'COUNT', 100)
          if #entries == 0 then return {epoch, offset, last, 0, frames} end
          for _, entry in ipairs(entries) do
            local frame = entry[2][2]
            local number, previous, stamp = string.match(frame, '^1 %w+ (%d+) %x+ (%x+) (%d+)\\n')
            room = room - #frame - ARGV[6]
            if tonumber(number) ~= before - 1 or tonumber(stamp) < oldest or room < 0 then
              return {epoch, offset, last, 0, frames}
            end
            frames[#frames + 1] = frame
            before = before - 1
            if before == known + 1 then
              return {epoch, offset, last, string.sub(previous, 1, #ARGV[3]) == ARGV[3] and 1 or 0, frames}
            end
          end
          upper = string.format('%d-0', before - 1)
        end
        return {epoch, offset, last, 0, frames}
        """
    )

    /// Reads a part of a history.
    ///
    /// - Keys: head, history, nodes.
    /// - Arguments: `newest`, `oldest` or an offset after which to read, the most messages, how long messages are kept in
    ///   ms, the most bytes.
    /// - Returns: epoch and offset of the last message, empty without one; 1 if there is a history or a subscriber; 0 if
    ///   what was asked for is not kept; the messages, oldest first.
    static let history = RedisScript(
        """
        local head = redis.call('GET', KEYS[1])
        local epoch, offset
        if head then epoch, offset = string.match(head, \(headPattern)) end
        if not epoch then return {'', '0', 0, 0, {}} end
        \(clock)
        local oldest = milliseconds() - ARGV[3]
        local exists = math.min(1, redis.call('EXISTS', KEYS[2], KEYS[3]))
        local from, isBackwards = '-', ARGV[1] == 'newest'
        local after = tonumber(ARGV[1])
        if after and after > tonumber(offset) then return {epoch, offset, exists, 0, {}} end
        if after then from = string.format('%d-0', after + 1) end
        local frames, first, bytes, wanted = {}, nil, 0, tonumber(ARGV[2])
        local function take(entry)
          local number, stamp = string.match(entry[2][2], '^1 %w+ (%d+) %x+ %x+ (%d+)\\n')
          if not number or tonumber(stamp) < oldest then return false end
          bytes = bytes + #entry[2][2]
          if #frames == wanted or (#frames > 0 and bytes > tonumber(ARGV[4])) then return true end
          first = first or tonumber(number)
          frames[#frames + 1] = entry[2][2]
          return false
        end
        if isBackwards then
          for _, entry in ipairs(redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', wanted)) do
            if take(entry) then break end
          end
          local turned = {}
          for index = #frames, 1, -1 do turned[#turned + 1] = frames[index] end
          return {epoch, offset, exists, 1, turned}
        end
        repeat
          local entries = redis.call('XRANGE', KEYS[2], from, '+', 'COUNT', 100)
          local isFull = false
          for _, entry in ipairs(entries) do
            isFull = take(entry)
            if isFull then break end
            from = '(' .. entry[1]
          end
        until isFull or #entries < 100
        local isKept = 1
        if after and after < tonumber(offset) and first ~= after + 1 then isKept = 0 end
        return {epoch, offset, exists, isKept, isKept == 1 and frames or {}}
        """
    )

    /// Reads where a channel is. A history exists until its last message expires.
    ///
    /// - Keys: head, history, nodes.
    /// - Returns: epoch, offset and id of the last message; empty without a history and subscribers.
    static let look = RedisScript(
        """
        local epoch, offset, last
        local head = redis.call('GET', KEYS[1])
        if head then epoch, offset, last = string.match(head, \(headPattern)) end
        if not epoch or redis.call('EXISTS', KEYS[2], KEYS[3]) == 0 then return {} end
        return {epoch, offset, last}
        """
    )

    /// Reads the channels of one tag by name.
    ///
    /// - Keys: index.
    /// - Arguments: the first name, how many names are looked at, the names of head, history and nodes without the
    ///   channel.
    /// - Returns: for each existing channel its name, epoch, offset and id, preceded by the last name that was looked at,
    ///   which is empty at the end. Names of channels that no longer exist are removed.
    static let list = RedisScript(
        """
        local names = redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1], '+', 'LIMIT', 0, ARGV[2])
        local found = {#names == tonumber(ARGV[2]) and names[#names] or ''}
        for _, name in ipairs(names) do
          local head = redis.call('GET', ARGV[3] .. name)
          local epoch, offset, last
          if head then epoch, offset, last = string.match(head, \(headPattern)) end
          if epoch and redis.call('EXISTS', ARGV[4] .. name, ARGV[5] .. name) > 0 then
            found[#found + 1] = name
            found[#found + 1] = epoch
            found[#found + 1] = offset
            found[#found + 1] = last
          else
            redis.call('ZREM', KEYS[1], name)
          end
        end
        return found
        """
    )

    /// Reads the counters of some tags.
    ///
    /// - Keys: counters.
    /// - Returns: the engine's time in ms; for each counter its epoch and number, empty where there is none.
    static let count = RedisScript(
        """
        \(clock)
        local found = {milliseconds()}
        for index, key in ipairs(KEYS) do
          local counter = redis.call('HMGET', key, 'e', 'n')
          found[#found + 1] = counter[1] or ''
          found[#found + 1] = counter[2] or '0'
        end
        return found
        """
    )
}
