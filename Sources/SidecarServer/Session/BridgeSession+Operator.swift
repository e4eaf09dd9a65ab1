import NIOCore
import SidecarCore

/// What operators and publishers see of a session, and do with it.
extension BridgeSession {
    /// What an operator sees of it; nil for one that is not open.
    func info(at now: NIODeadline, unixMilliseconds: Int64) -> ConnectionInfo? {
        guard machine.isRunning else { return nil }
        return ConnectionInfo(
            id: id,
            user: user,
            address: clientAddress,
            subject: shownSubject,
            openedAt: unixMilliseconds - machine.age(at: now).nanoseconds / 1_000_000,
            messagesIn: machine.messagesIn,
            messagesOut: machine.messagesOut,
            pendingBytes: machine.pendingBytes,
            channels: channels.keys.sorted()
        )
    }

    /// Without its query where a token may be in that.
    private var shownSubject: String {
        let subject = prepared.subject
        let mayHoldToken = context.settings.jwtSources.contains {
            if case .query = $0 { true } else { false }
        }
        return mayHoldToken ? String(subject.prefix { $0 != "?" }) : subject
    }

    /// Sends a message that was published; false when it was dropped.
    func deliver(_ message: PreparedMessage, at cursor: StreamCursor?, _ action: SlowClientAction?) -> Bool {
        guard machine.isRunning, let transport, transport.send(message, at: cursor, action) else { return false }
        noteSent(message.format, payloadBytes: message.payload.readableBytes)
        return true
    }

    /// Tells when the kernel has taken the message delivered last.
    func whenWritten(_ receipt: WriteReceipt) { transport?.whenWritten(receipt) }

    /// Whether it is this connection, or goes on with the stream of that one.
    func isOrWas(_ connection: ExcludedConnection) -> Bool {
        id == connection.id || formerReader == connection.reader
    }

    /// Whether it is in a channel.
    func isIn(_ channel: ChannelName) -> Bool { channels[channel] != nil }

    /// Joins a channel by the operator's word; false when it has too many.
    func joinByOperator(_ channel: ChannelName) -> Bool {
        if channels[channel] != nil { return true }
        guard channels.count < context.settings.maxChannelsPerConnection else { return false }
        join(channel)
        return true
    }
}
