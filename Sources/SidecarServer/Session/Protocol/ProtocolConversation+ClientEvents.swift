import CoreMetrics
import NIOCore
import SidecarCore

/// Events from client to client.
extension ProtocolConversation {
    /// A client sends an event to the others in a channel.
    func broadcast(_ event: ClientEvent, at now: NIODeadline) {
        guard context.channels.allowsClientEvents(in: event.channel), session.isIn(event.channel) else {
            let why = "The client is not in this channel, or its policy does not have client-events=on."
            return tell(ProtocolError(.forbidden, about: event.id, why))
        }
        if let wait = waitForEvent(at: now) {
            return tell(ProtocolError(rateLimited: event.id, retryAfter: wait))
        }
        let broadcast = ClientBroadcast(
            channel: event.channel,
            type: event.type,
            sender: session.id,
            user: session.user,
            format: event.format,
            payload: event.payload
        )
        context.channels.broadcast(broadcast) { [weak session] result in
            session?.conversation?.wasSent(event.id, result)
        }
    }

    private func wasSent(_ id: String?, _ result: Result<Void, ChannelFailure>) {
        switch result {
        case .success: if let id { write(.acknowledged(id, isRepeat: false)) }
        case .failure: tell(ProtocolError(.unavailable, about: id, "The other nodes cannot be reached."))
        }
    }

    /// How many milliseconds the client has to wait; nil when it need not.
    private func waitForEvent(at now: NIODeadline) -> Int64? {
        guard let rate = context.settings.clientEventRate else { return nil }
        let time = Int64(clamping: now.uptimeNanoseconds)
        guard case .limited(let wait) = GCRA(rate).take(tat: &eventTime, now: time) else { return nil }
        context.metrics.limited(.clientEventRate, action: .refused)
        return max(1, wait / 1_000_000)
    }

    /// An event of another client; one that comes too early or too late is worth nothing.
    func deliver(_ shared: SharedFrame, of channel: ChannelName) {
        guard phase == .live, feeds.isLive(channel) else { return }
        _ = sendIfPossible(shared.written(in: encoding), of: channel)
    }

    func sendIfPossible(_ frame: ByteBuffer, of channel: ChannelName) -> Bool {
        guard session.transport?.sendIfPossible(encoding.format, frame, of: channel) == true else { return false }
        context.metrics.outgoing.message(encoding.format, payloadBytes: frame.readableBytes)
        return true
    }
}
