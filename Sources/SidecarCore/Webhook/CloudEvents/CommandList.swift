import NIOCore

/// Reads a command list: a JSON array of objects with one command each.
enum CommandList {
    /// The most commands in one reply.
    static let maxCommands = 1024

    /// Reads the whole list; none of it is applied when any command is invalid.
    ///
    /// - Throws: ``DeliveryFailure/badReply(_:)`` with the number of the command and what is wrong with it.
    static func parse(_ body: ByteBuffer) throws(DeliveryFailure) -> [Command] {
        try read(body) { (reader) throws(DeliveryFailure) in try list(from: &reader) }
    }

    /// Reads the reply to a batch: a list with one command list for each of its events.
    ///
    /// - Returns: The commands of all events in order.
    static func parse(_ body: ByteBuffer, batchOf count: Int) throws(DeliveryFailure) -> [Command] {
        try read(body) { (reader) throws(DeliveryFailure) in
            let needsAll = DeliveryFailure.badReply("The answer to a batch is a list of \(count) command lists.")
            guard reader.take("[") else { throw needsAll }
            var commands = try list(from: &reader)
            for _ in 1..<max(count, 1) {
                guard reader.take(",") else { throw needsAll }
                commands += try list(from: &reader)
            }
            guard reader.take("]") else { throw needsAll }
            return commands
        }
    }

    private static func read(
        _ body: ByteBuffer,
        _ commands: (inout JSONReader) throws(DeliveryFailure) -> [Command]
    ) throws(DeliveryFailure) -> [Command] {
        guard body.isValidUTF8 else { throw .badReply("The command list is not valid UTF-8.") }
        let result: Result<[Command], DeliveryFailure> = body.withUnsafeReadableBytes { bytes in
            var reader = JSONReader(bytes)
            do throws(DeliveryFailure) {
                let commands = try commands(&reader)
                guard reader.isAtEnd() else { throw .badReply("There is text after the command list.") }
                return .success(commands)
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func list(from reader: inout JSONReader) throws(DeliveryFailure) -> [Command] {
        guard reader.take("[") else { throw .badReply("The command list is not a JSON array.") }
        var commands: [Command] = []
        if !reader.take("]") {
            repeat {
                guard commands.count < maxCommands else {
                    throw .badReply("The command list has more than \(maxCommands) commands.")
                }
                do throws(JSONReader.Fault) {
                    commands.append(try command(from: &reader))
                } catch {
                    throw .badReply("Command \(commands.count + 1): \(error.sentence)")
                }
            } while reader.take(",")
            guard reader.take("]") else {
                throw .badReply("The command list has no comma or end after command \(commands.count).")
            }
        }
        return commands
    }

    private static func command(from reader: inout JSONReader) throws(JSONReader.Fault) -> Command {
        let needsOne = JSONReader.Fault(sentence: "an object with exactly one command is needed.")
        guard reader.take("{"), !reader.take("}") else { throw needsOne }
        let command: Command
        switch try reader.name() {
        case "send": command = try send(from: &reader)
        case "user":
            let user = UserName(try reader.string())
            guard user.text.utf8.count <= UserName.maxBytes else {
                throw JSONReader.Fault(sentence: "the user's name is too long.")
            }
            command = .user(user)
        case "state":
            let state = try reader.string()
            guard state.utf8.count <= SessionReply.maxStateBytes else {
                throw JSONReader.Fault(sentence: "the state is too long.")
            }
            command = .state(state)
        case "close": command = try close(from: &reader)
        case "subscribe": command = .subscribe(try channel(from: &reader))
        case "unsubscribe": command = .unsubscribe(try channel(from: &reader))
        case "publish": command = try publish(from: &reader)
        default: throw JSONReader.Fault(sentence: "the command is unknown.")
        }
        if reader.take(",") { throw needsOne }
        try reader.expect("}")
        return command
    }

    private static func send(from reader: inout JSONReader) throws(JSONReader.Fault) -> Command {
        var content: MessageContent?
        try members(of: &reader) { (name, reader) throws(JSONReader.Fault) in
            try MessageContent.read(name, from: &reader, into: &content)
        }
        guard let content else { throw MessageContent.needsOne }
        return .send(content.format, content.payload)
    }

    private static func channel(from reader: inout JSONReader) throws(JSONReader.Fault) -> ChannelName {
        guard let channel = ChannelName(try reader.string()) else {
            throw JSONReader.Fault(
                sentence: "the channel's name is not 1 to 200 printable characters without space, comma or quote."
            )
        }
        return channel
    }

    private static func publish(from reader: inout JSONReader) throws(JSONReader.Fault) -> Command {
        var content: MessageContent?
        var target: ChannelName?
        var excludesSelf: Bool?
        var event: String?
        try members(of: &reader) { (name, reader) throws(JSONReader.Fault) in
            switch name {
            case "channel" where target == nil: target = try channel(from: &reader)
            case "exclude" where excludesSelf == nil:
                if reader.takeWord("null") { return true }
                guard try reader.string() == "self" else {
                    throw JSONReader.Fault(sentence: "exclude can only be self.")
                }
                excludesSelf = true
            case "event" where event == nil:
                if reader.takeWord("null") { return true }
                let type = try reader.string()
                guard EventStreamText.isEventType(type) else {
                    throw JSONReader.Fault(sentence: "an event must be 1 to 128 printable characters.")
                }
                event = type
            default: return try MessageContent.read(name, from: &reader, into: &content)
            }
            return true
        }
        guard let content else { throw MessageContent.needsOne }
        guard let target else { throw JSONReader.Fault(sentence: "publish needs a channel.") }
        let publication = Publication(channel: target, format: content.format, payload: content.payload, event: event)
        return .publish(publication, excludesSelf: excludesSelf ?? false)
    }

    private static func close(from reader: inout JSONReader) throws(JSONReader.Fault) -> Command {
        var code: Int?
        var reason: String?
        try members(of: &reader) { (name, reader) throws(JSONReader.Fault) in
            switch name {
            case "code" where code == nil: code = try reader.integer()
            case "reason" where reason == nil:
                if !reader.takeWord("null") { reason = try reader.string() }
            default: return false
            }
            return true
        }
        guard let code else { throw JSONReader.Fault(sentence: "close needs a code.") }
        guard let request = CloseRequest(code: code, reason: reason ?? "") else {
            throw JSONReader.Fault(sentence: "this close code may not be sent.")
        }
        return .close(request)
    }

    /// Reads an object; `read` takes the value of a member, or returns false for an unknown one.
    static func members(
        of reader: inout JSONReader,
        _ read: (_ name: String, _ reader: inout JSONReader) throws(JSONReader.Fault) -> Bool
    ) throws(JSONReader.Fault) {
        guard reader.take("{") else { throw .wrongType }
        if reader.take("}") { return }
        repeat {
            guard try read(try reader.name(), &reader) else {
                throw JSONReader.Fault(sentence: "a member is unknown or appears twice.")
            }
        } while reader.take(",")
        try reader.expect("}")
    }
}
