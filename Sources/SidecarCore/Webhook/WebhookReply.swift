public import HTTP1
public import NIOCore

/// What an accepted answer asks for, to be applied in this order: identity, output, close.
public struct WebhookReply: Sendable, Equatable {
    /// What goes to the client.
    public enum Output: Sendable, Equatable {
        /// Nothing.
        case none
        /// One message.
        case message(MessageFormat, ByteBuffer)
        /// A command list, in order.
        case commands([Command])
    }

    /// The longest connection state, in bytes.
    public static let maxStateBytes = 4096

    /// What goes to the client.
    public private(set) var output = Output.none
    /// Nil for most answers, which then cost little to hand on.
    private var fields: Shared<ReplyFields>?

    /// The value of `Sidesocket-User`: nil without one, empty to forget the user.
    public var user: UserName? { fields?.value.user }
    /// The value of `Sidesocket-State`: nil without one, empty to clear it.
    public var state: String? { fields?.value.state }
    /// The value of `Sidesocket-Close`.
    public var close: CloseRequest? { fields?.value.close }
    /// Channels to join (`Sidesocket-Subscribe`).
    public var subscribe: [ChannelName] { fields?.value.subscribe ?? [] }
    /// Channels to leave (`Sidesocket-Unsubscribe`).
    public var unsubscribe: [ChannelName] { fields?.value.unsubscribe ?? [] }
    /// Channels that the body goes to instead of the client (`Sidesocket-Publish`).
    public var publish: [ChannelName] { fields?.value.publish ?? [] }
    /// What is published besides the body (`Sidesocket-Broadcast`).
    public var broadcasts: [Publication] { fields?.value.broadcasts ?? [] }
    /// The event type on event streams (`Sidesocket-Event`).
    public var event: String? { fields?.value.event }
    /// Whether this client is left out of them (`Sidesocket-Exclude: self`).
    public var excludesSelf: Bool { fields?.value.excludesSelf ?? false }
    /// The value of `Sidesocket-Token`: a new token for the client.
    public var token: String? { fields?.value.token }

    /// Reads the app's answer to an event, or to a batch of as many messages.
    ///
    /// - Throws: ``DeliveryFailure`` for a status other than 2xx and for an answer that breaks the contract.
    public init(head: HTTPReplyHead, body: ByteBuffer, batchOf count: Int = 1) throws(DeliveryFailure) {
        guard (200..<300).contains(head.status) else { throw .status(head.status) }
        var mediaType: MediaType?
        var isCoded = false
        var hasFields = false
        head.headers.forEach { name, value in
            switch name.count {
            case 12 where HTTPField.equals(name, "content-type"):
                mediaType = value.isEmpty ? nil : MediaType(value)
            case 16 where HTTPField.equals(name, "content-encoding"):
                isCoded = isCoded || !HTTPField.equals(value, "identity")
            default:
                hasFields = hasFields || HeaderRules.isSidesocket(name)
            }
        }
        if isCoded, !body.isEmptyBody { throw .badReply("The body has a content coding.") }
        if hasFields { fields = Shared(try ReplyFields(head.headers)) }
        if count > 1, !publish.isEmpty {
            throw .badReply("The answer to a batch publishes by commands, not by Sidesocket-Publish.")
        }
        if body.isEmptyBody { return }
        guard count > 1 else {
            output = try Self.output(mediaType, body: body)
            if !publish.isEmpty, case .commands = output {
                throw .badReply("With Sidesocket-Publish the body is the message, not a list of commands.")
            }
            return
        }
        guard mediaType == .commands else {
            throw .badReply("The answer to a batch is empty or a list of command lists.")
        }
        output = .commands(try CommandList.parse(body, batchOf: count))
    }

    /// What it publishes, in order.
    public var publications: [Publication] { broadcasts + outputPublications }

    /// What its body or its commands publish, in order.
    public var outputPublications: [Publication] {
        switch output {
        case .none: []
        case .message(let format, let payload):
            publish.map { Publication(channel: $0, format: format, payload: payload, event: event) }
        case .commands(let commands):
            commands.compactMap { if case .publish(let publication, _) = $0 { publication } else { nil } }
        }
    }

    /// The channels that the connection would be in after it, when it is in `channels` now.
    ///
    /// - Returns: Nil when that is more than `limit` at any point.
    public func channels(after channels: Set<ChannelName>, limit: Int) -> Set<ChannelName>? {
        var channels = channels
        var isTooMany = false
        func join(_ channel: ChannelName) {
            channels.insert(channel)
            if channels.count > limit { isTooMany = true }
        }
        for channel in unsubscribe { channels.remove(channel) }
        for channel in subscribe { join(channel) }
        if case .commands(let commands) = output {
            for command in commands {
                switch command {
                case .subscribe(let channel): join(channel)
                case .unsubscribe(let channel): channels.remove(channel)
                default: break
                }
            }
        }
        return isTooMany ? nil : channels
    }

    /// True when it may change what channels the connection is in.
    public var changesChannels: Bool {
        if !subscribe.isEmpty { return true }
        guard case .commands(let commands) = output else { return false }
        return commands.contains { if case .subscribe = $0 { true } else { false } }
    }

    static func output(_ type: MediaType?, body: ByteBuffer) throws(DeliveryFailure) -> Output {
        switch type {
        case nil:
            return .message(body.isValidUTF8 ? .text : .binary, body)
        case .commands:
            return .commands(try CommandList.parse(body))
        case .text:
            guard body.isValidUTF8 else { throw .badReply("The body is declared as text and is not valid UTF-8.") }
            return .message(.text, body)
        case .binary:
            return .message(.binary, body)
        }
    }
}

/// The three kinds of body that an answer may have.
enum MediaType {
    case text, binary, commands

    /// Reads a `Content-Type` value (RFC 9110 §8.3.1); parameters don't matter.
    init(_ value: UnsafeRawBufferPointer) {
        var end = value.firstIndex { $0 == UInt8(ascii: ";") } ?? value.count
        while end > 0, value[end - 1] == 0x20 || value[end - 1] == 0x09 { end -= 1 }
        let type = UnsafeRawBufferPointer(rebasing: value[..<end])
        if HTTPField.hasPrefix(type, "text/") {
            self = .text
        } else if HTTPField.equals(type, "application/vnd.sidesocket+json") {
            self = .commands
        } else if HTTPField.equals(type, "application/json") || HTTPField.equals(type, "application/xml")
            || Self.hasSuffix(type, "+json") || Self.hasSuffix(type, "+xml")
        {
            self = .text
        } else {
            self = .binary
        }
    }

    private static func hasSuffix(_ type: UnsafeRawBufferPointer, _ suffix: StaticString) -> Bool {
        let start = type.count - suffix.utf8CodeUnitCount
        guard start > 0 else { return false }
        return HTTPField.equals(UnsafeRawBufferPointer(rebasing: type[start...]), suffix)
    }
}

extension ByteBuffer {
    fileprivate var isEmptyBody: Bool { readableBytes == 0 }

    /// True when the readable bytes are well-formed UTF-8 (RFC 3629).
    var isValidUTF8: Bool {
        if readableBytes == 0 { return true }
        return withUnsafeReadableBytes { bytes in
            let typed = bytes.assumingMemoryBound(to: UInt8.self)
            return (try? UTF8Span(validating: typed.span)) != nil
        }
    }
}
