public import NIOCore

/// One entry of `POST /v1/messages`, or what is wrong with it.
public typealias BatchEntry = Result<BatchPublication, BatchFault>

/// Why an entry of a batch is invalid.
public struct BatchFault: Error, Sendable, Equatable {
    /// One plain sentence.
    public let sentence: String
}

/// One message of a batch.
public struct BatchPublication: Sendable, Equatable {
    /// Whom it is for.
    public enum Target: Sendable, Equatable {
        case channel(ChannelName)
        case user(UserName)
        case connection(String)
    }

    /// Whom it is for.
    public let target: Target
    /// Text or binary.
    public let format: MessageFormat
    /// The message.
    public let payload: ByteBuffer
    /// The connection that does not get it.
    public let excluded: String?
    /// The event type on event streams; nil for the usual one.
    public let event: String?
}

extension OperatorSyntax {
    /// Reads a list of publications; nil when it is not a list, is empty or has more than `limit` entries.
    public static func publications(_ body: ByteBuffer, limit: Int) -> [BatchEntry]? {
        guard body.isValidUTF8 else { return nil }
        return body.withUnsafeReadableBytes { bytes in
            var reader = JSONReader(bytes)
            guard reader.take("["), !reader.take("]") else { return nil }
            var entries: [BatchEntry] = []
            repeat {
                guard entries.count < limit, let entry = try? entry(from: &reader) else { return nil }
                entries.append(entry)
            } while reader.take(",")
            guard reader.take("]"), reader.isAtEnd() else { return nil }
            return entries
        }
    }

    /// One entry; throws when it is not a JSON object, since the start of the next one is then unknown.
    private static func entry(from reader: inout JSONReader) throws(JSONReader.Fault) -> BatchEntry {
        var targets: [BatchPublication.Target?] = []
        var text: String?
        var base64: String?
        var excluded: String?
        var event: String?
        var fault: String?
        try CommandList.members(of: &reader) { (name, reader) throws(JSONReader.Fault) in
            let any = try reader.value(depth: JSONValue.maxDepth)
            if any == .null { return true }
            guard let value = any.string else {
                fault = "A member is not a string."
                return true
            }
            switch name {
            case "channel": targets.append(ChannelName(value).map { .channel($0) })
            case "user": targets.append(value.isEmpty ? nil : .user(UserName(value)))
            case "connection": targets.append(value.isEmpty ? nil : .connection(value))
            case "text" where text == nil: text = value
            case "base64" where base64 == nil: base64 = value
            case "exclude" where excluded == nil: excluded = value
            case "event" where event == nil && EventStreamText.isEventType(value): event = value
            default: fault = "A member is unknown, appears twice or is not valid."
            }
            return true
        }
        if let fault { return .failure(BatchFault(sentence: fault)) }
        guard targets.count == 1, let target = targets[0] else {
            return .failure(BatchFault(sentence: "Exactly one valid channel, user or connection is needed."))
        }
        switch (text, base64) {
        case (let text?, nil):
            return .success(
                .init(
                    target: target,
                    format: .text,
                    payload: ByteBuffer(string: text),
                    excluded: excluded,
                    event: event
                )
            )
        case (nil, let base64?):
            guard let bytes = Base64.decoded(base64) else {
                return .failure(BatchFault(sentence: "The base64 is not valid."))
            }
            return .success(
                .init(target: target, format: .binary, payload: bytes, excluded: excluded, event: event)
            )
        default:
            return .failure(BatchFault(sentence: "Either text or base64 is needed."))
        }
    }
}
