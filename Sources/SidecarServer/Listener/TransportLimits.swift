import NIOCore
import SidecarCore

/// What the kernel and NIO hold for a client's connection, and how long they wait for it.
enum TransportLimits {
    /// Above this many bytes in the channel, messages wait in the send queue, where all that they hold is counted.
    private static let channelHighWater = 4096

    /// Sets the options that apply from the accept on.
    ///
    /// - Parameter highWater: With this many unsent bytes, reading of a reply stops; at least 1.
    static func setForRequests(on options: any NIOSynchronousChannelOptions, _ highWater: Int) throws {
        try options.setOption(.writeBufferWaterMark, value: .init(low: max(highWater / 2, 1), high: max(highWater, 1)))
        // With one read a turn, a busy client does not hold up its loop, and idle ones stay small.
        try options.setOption(.maxMessagesPerRead, value: 1)
        try options.setOption(.recvAllocator, value: ReadBuffers())
    }

    /// Sets the options of every client that stays. On a Unix socket there are no TCP options.
    static func set(on channel: any Channel, _ output: SocketOutput, _ configuration: ServerConfiguration) {
        let high = min(channelHighWater, configuration.settings.maxSendBufferBytes)
        try? channel.syncOptions?.setOption(.writeBufferWaterMark, value: .init(low: max(high / 2, 1), high: high))
        #if os(Linux)
            // The kernel gives up a peer that acknowledges nothing for as long as the heartbeat would wait (RFC 5482).
            guard let timeout = configuration.heartbeat.transportTimeout else { return }
            let milliseconds = Int32(clamping: timeout.nanoseconds / 1_000_000)
            output.setTCPOption(18, milliseconds)  // TCP_USER_TIMEOUT
        #endif
    }

    /// Limits what a client may have sent and we have not read, in bytes: when it closes, all of that is read at once.
    static func setWindow(of output: SocketOutput, maxPendingBytes: Int) {
        #if os(Linux)
            output.setTCPOption(10, CInt(min(max(maxPendingBytes, 64 << 10), 1 << 20)))  // TCP_WINDOW_CLAMP
        #endif
    }
}
