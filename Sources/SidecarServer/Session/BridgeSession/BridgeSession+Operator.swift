import NIOCore
import SidecarCore

/// Operations of the API and of publishers on a session.
extension BridgeSession {
    /// The session as an operator sees it; nil when it is not open.
    func info(at now: NIODeadline, unixMilliseconds: Int64) -> ConnectionInfo? {
        guard machine.isRunning else { return nil }
        let openedAt = openedAt ?? unixMilliseconds - machine.age(at: now).nanoseconds / 1_000_000
        self.openedAt = openedAt
        return ConnectionInfo(
            id: id,
            user: user,
            address: clientAddress,
            subject: shownSubject,
            openedAt: openedAt,
            messagesIn: machine.messagesIn,
            messagesOut: machine.messagesOut,
            pendingBytes: machine.pendingBytes,
            channels: channels.names.sorted(),
            isDetached: conversation.map { $0.phase == .detached }
        )
    }

    /// The path and query, without the query when it may hold a token.
    private var shownSubject: String {
        let subject = prepared.subject
        let mayHoldToken = context.settings.jwtSources.contains {
            if case .query = $0 { true } else { false }
        }
        return mayHoldToken ? String(subject.prefix { $0 != "?" }) : subject
    }

    /// Sends a message shared with other clients; false when it was dropped.
    func deliver(_ message: PreparedMessage) -> Bool {
        guard machine.isRunning else { return false }
        if let conversation {
            conversation.send(message.format, message.payload, type: message.event)
            return machine.isRunning
        }
        guard let transport, transport.send(message) else { return false }
        noteSent(message.format, payloadBytes: message.payload.readableBytes)
        return true
    }

    /// Sends a publication, unless it has to wait.
    ///
    /// - Returns: False when it was dropped; nil when there is no client, who gets it from the history.
    func deliver(_ delivery: ChannelDelivery) -> Bool? {
        guard let conversation else { return pass(delivery) }
        if conversation.phase == .detached || successor != nil { return nil }
        return conversation.holds(delivery) || pass(delivery)
    }

    /// Sends a publication now; false when it was dropped.
    func pass(_ delivery: ChannelDelivery) -> Bool {
        guard machine.isRunning, let transport, transport.send(delivery) else { return false }
        noteSent(delivery.message.format, payloadBytes: delivery.message.payload.readableBytes)
        return true
    }

    /// Settles the receipt when the kernel has taken the message delivered last.
    func whenWritten(_ receipt: WriteReceipt) { transport?.whenWritten(receipt) }

    /// Whether this is the excluded connection, or continues its event stream.
    func isOrWas(_ connection: ExcludedConnection) -> Bool {
        id == connection.id || continued?.cursor?.reader == connection.reader
    }

    /// Whether it is in a channel.
    func isIn(_ channel: ChannelName) -> Bool { channels.contains(channel) }

    /// Joins a channel for an operator; false when it is in too many.
    func joinByOperator(_ channel: ChannelName) -> Bool {
        if channels.contains(channel) { return true }
        guard channels.count < context.settings.maxChannelsPerConnection else { return false }
        join(channel)
        return true
    }
}
