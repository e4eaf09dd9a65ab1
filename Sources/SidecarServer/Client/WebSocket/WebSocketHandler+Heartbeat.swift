import CoreMetrics
import NIOCore
import SidecarCore
import WebSocketProtocol

/// Whether a client has read some of its unsent bytes since the last beat.
struct ReadingProgress {
    /// True once a message was sent since the last beat.
    var hasSent = false
    private var unsentBytes = 0

    /// False where no message was sent, so that only pings can wait; most sockets are idle.
    var mayHaveUnsent: Bool { hasSent || unsentBytes > 0 }

    mutating func hasProgressed(unsentBytes unsent: Int) -> Bool {
        defer { unsentBytes = unsent }
        hasSent = false
        return unsent < unsentBytes
    }
}

/// Pings and their answers.
extension WebSocketHandler {
    func beat(at now: NIODeadline) {
        let unsent = progress.mayHaveUnsent ? output.unsentBytes + bytesInKernel : 0
        var heartbeat = heartbeat
        heartbeat.sent(at: output.sentAt)
        let step = heartbeat.deadlineReached(
            at: now,
            isReading: !mustPauseReading,
            hasProgressed: progress.hasProgressed(unsentBytes: unsent),
            policy: loop.configuration.heartbeat
        )
        self.heartbeat = heartbeat
        switch step {
        case .wait:
            break
        case .sendPing:
            sendPing()
        case .closeUnresponsive:
            loop.metrics.pongTimeouts.increment()
            session.close(code: .goingAway, reason: "no answer to a ping", for: .pongTimeout)
        case .closeIdle:
            loop.metrics.limited(.clientIdleTimeout, action: .closed)
            session.close(code: .goingAway, reason: "no message for too long", for: .idle)
        case .closeAged:
            session.closeAsAged()
        }
    }

    /// What the kernel has queued and the client has not read, in bytes of memory; 0 where that is unknown. A slow
    /// reader may take minutes for it, with our pings behind it.
    private var bytesInKernel: Int {
        #if os(Linux)
            typealias Counters = (UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32, UInt32)
            guard let provider = context?.channel as? any SocketOptionProvider else { return 0 }
            var queued = 0
            // SO_MEMINFO; the sixth value is SK_MEMINFO_WMEM_QUEUED. On the event loop the result is available at once.
            let answer: EventLoopFuture<Counters> = provider.unsafeGetSocketOption(
                level: .socket,
                name: .init(rawValue: 55)
            )
            answer.assumeIsolated().whenSuccess { queued = Int($0.5) }
            return queued
        #else
            return 0
        #endif
    }

    /// A client with unread bytes needs no ping: they serve as one, and pings would only pile up behind them.
    private func sendPing() {
        guard output.isClear else { return }
        loop.scratch.clear()
        FrameEncoder.writeHeader(.ping, payloadLength: 4, into: &loop.scratch)
        loop.scratch.writeInteger(heartbeat.pingNumber)
        output.sendAtOnce(loop.scratch)
        output.flush()
        control.allowance.pingSent()
        loop.metrics.pingsSent.increment()
    }

    func noteRoundTrip(_ payload: ByteBuffer) {
        var heartbeat = heartbeat
        guard payload.readableBytes == 4, let number = payload.getInteger(at: payload.readerIndex, as: UInt32.self),
            let time = heartbeat.receivedPong(number, at: heartbeat.receivedAt)
        else { return }
        self.heartbeat = heartbeat
        loop.metrics.pingRoundTrip.recordNanoseconds(time.nanoseconds)
    }
}
