import NIOCore

/// Messages and confirmations.
extension RedisConnection {
    func takePush(_ items: [RESPValue]) {
        guard let name = items.first, let channelName = items.count > 1 ? items[1].text : nil else {
            return protocolFault("a push without a name")
        }
        let channel = RedisChannel(name: channelName)
        if name.matches("message") || name.matches("smessage") {
            guard items.count == 3, let payload = items[2].bytes else { return protocolFault("a malformed message") }
            traffic?.connection(self, received: payload.detached, on: channel)
        } else if let kind = SubscriptionKind(push: name) {
            takeConfirmation(kind, channel)
        } else {
            protocolFault("a push of an unknown kind")
        }
    }

    private func takeConfirmation(_ kind: SubscriptionKind, _ channel: RedisChannel) {
        // Confirmations keep the order of replies, so ours belongs to what stands first.
        if case .subscription(let batch)? = pending.first, batch.kind == kind, confirmedOfFirst < batch.channels.count,
            batch.channels[confirmedOfFirst] == channel
        {
            confirmedOfFirst += 1
            traffic?.connection(self, confirmed: channel, kind)
            if confirmedOfFirst == batch.channels.count, !batch.needsFence { endFirstBatch(kind) }
        } else if kind.subscribes {
            protocolFault("a confirmation that nobody asked for")
        } else {
            // A slot has moved, or an ACL has changed.
            traffic?.connection(self, revoked: channel)
        }
    }

    /// Takes a reply while a batch stands first.
    func takeReply(_ value: RESPValue, to batch: SubscriptionBatch) {
        let rest = batch.channels.dropFirst(confirmedOfFirst)
        if batch.needsFence {
            if case .error(let reply) = value, !firstIsRefused, !reply.message.contains("'ping'") {
                firstIsRefused = true
                return
            }
            // Whatever the server said, they are not subscribed any more, or nobody listens to them.
            for channel in rest { traffic?.connection(self, confirmed: channel, batch.kind) }
            endFirstBatch(batch.kind)
        } else if case .error(let reply) = value {
            confirmedOfFirst = 0
            _ = pending.popFirst()
            traffic?.connection(self, refused: Array(rest), batch.kind, reply)
        } else {
            protocolFault("an answer to \(batch.kind.command)")
        }
    }

    private func endFirstBatch(_ kind: SubscriptionKind) {
        guard state != .closed else { return }
        confirmedOfFirst = 0
        firstIsRefused = false
        _ = pending.popFirst()
        traffic?.connection(self, completed: kind)
    }
}

extension ByteBuffer {
    /// The same bytes; a copy when they would keep a much larger storage alive.
    var detached: ByteBuffer {
        guard storageCapacity > 2 * readableBytes + 256 else { return self }
        var copy = ByteBuffer()
        copy.reserveCapacity(readableBytes)
        copy.writeImmutableBuffer(self)
        return copy
    }
}
