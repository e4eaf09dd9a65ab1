public import NIOCore

/// What an accepted reply of the app asks for, in any dialect: identity, output and close, applied in this order.
public struct SessionReply: Sendable, Equatable {
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

    /// Everything else that it asks for.
    struct Demands: Sendable, Equatable {
        var user: UserName?
        var state: String?
        var close: CloseRequest?
        var subscribe: [ChannelName] = []
        var unsubscribe: [ChannelName] = []
        var publish: [ChannelName] = []
        var broadcasts: [Publication] = []
        var event: String?
        var excludesSelf = false
        var token: String?
    }

    /// What goes to the client.
    public let output: Output
    /// Nil for most replies, which are then cheap to copy.
    private let demands: Shared<Demands>?

    init(output: Output, demands: Shared<Demands>? = nil) {
        self.output = output
        self.demands = demands
    }

    /// The value of `Sidesocket-User`: nil without one, empty to forget the user.
    public var user: UserName? { demands?.value.user }
    /// The value of `Sidesocket-State`: nil without one, empty to clear it.
    public var state: String? { demands?.value.state }
    /// The value of `Sidesocket-Close`.
    public var close: CloseRequest? { demands?.value.close }
    /// Channels to join (`Sidesocket-Subscribe`).
    public var subscribe: [ChannelName] { demands?.value.subscribe ?? [] }
    /// Channels to leave (`Sidesocket-Unsubscribe`).
    public var unsubscribe: [ChannelName] { demands?.value.unsubscribe ?? [] }
    /// Channels that the body goes to instead of the client (`Sidesocket-Publish`).
    public var publish: [ChannelName] { demands?.value.publish ?? [] }
    /// What is published besides the body (`Sidesocket-Broadcast`).
    public var broadcasts: [Publication] { demands?.value.broadcasts ?? [] }
    /// The event type on event streams (`Sidesocket-Event`).
    public var event: String? { demands?.value.event }
    /// Whether this client does not get its publications (`Sidesocket-Exclude: self`).
    public var excludesSelf: Bool { demands?.value.excludesSelf ?? false }
    /// The value of `Sidesocket-Token`: a new token for the client.
    public var token: String? { demands?.value.token }

    /// What the reply publishes, in order.
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

    /// The channels that the connection would be in after this reply, when it is in `channels` now.
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

    /// True when it may change which channels the connection is in.
    public var changesChannels: Bool {
        if !subscribe.isEmpty { return true }
        guard case .commands(let commands) = output else { return false }
        return commands.contains { if case .subscribe = $0 { true } else { false } }
    }
}
