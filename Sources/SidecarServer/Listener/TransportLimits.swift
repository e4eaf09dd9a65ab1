import NIOCore
import SidecarCore

/// What the kernel and NIO hold of a client's connection, and how long they are patient with it.
enum TransportLimits {
    /// Above this many bytes in the channel, messages wait in the outbox, where they count with all that they hold.
    private static let channelHighWater = 4096

    /// Sets what holds from the accept on.
    ///
    /// - Parameter highWater: So many unsent bytes stop the reading of an answer, at least 1.
    static func setForRequests(on options: any NIOSynchronousChannelOptions, _ highWater: Int) throws {
        try options.setOption(.writeBufferWaterMark, value: .init(low: max(highWater / 2, 1), high: max(highWater, 1)))
        // One read a turn keeps a busy client from holding up its loop, and idle ones small.
        try options.setOption(.maxMessagesPerRead, value: 1)
        try options.setOption(.recvAllocator, value: ReadBuffers())
    }

    /// Sets what holds for every client that stays. There are no such TCP options on a Unix socket.
    static func set(on channel: any Channel, _ output: SocketOutput, _ configuration: ServerConfiguration) {
        let high = min(channelHighWater, configuration.settings.maxSendBufferBytes)
        try? channel.syncOptions?.setOption(.writeBufferWaterMark, value: .init(low: max(high / 2, 1), high: high))
        #if os(Linux)
            // The kernel gives up a peer that acknowledges nothing, as late as the heartbeat would (RFC 5482).
            guard let timeout = configuration.heartbeat.transportTimeout else { return }
            let milliseconds = Int32(clamping: timeout.nanoseconds / 1_000_000)
            output.setTCPOption(18, milliseconds)  // TCP_USER_TIMEOUT
        #endif
    }

    /// Sets what a client may have sent and we have not read, in bytes: at its end all of it is read at once.
    static func setWindow(of output: SocketOutput, maxPendingBytes: Int) {
        #if os(Linux)
            output.setTCPOption(10, CInt(min(max(maxPendingBytes, 64 << 10), 1 << 20)))  // TCP_WINDOW_CLAMP
        #endif
    }
}
