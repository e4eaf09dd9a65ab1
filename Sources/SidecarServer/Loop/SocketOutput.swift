import NIOCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// What goes out on one connection, in order.
///
/// Small writes are gathered until their event loop has worked through what came in (``FlushQueue``). Then they go
/// straight into the socket, as long as no handler has a part in that and nothing waits in the channel; what the kernel
/// does not take at once is the channel's, which tells when it is writable again.
class SocketOutput {
    /// More than this is not gathered but written at once, in bytes; as much as may wait in the channel of a client
    /// before messages wait where they can be dropped.
    static let gatherLimit = 4096

    private let queue: FlushQueue
    private(set) var context: ChannelHandlerContext?
    /// The socket, or -1.
    private var descriptor: CInt = -1
    /// False when bytes have to take the way through the channel.
    private var writesDirectly = false
    private var first: ByteBuffer?
    /// True while the memory of `first` is one of the queue's buffers: more can be written behind what is there.
    private var isFirstOwn = false
    private var more: [ByteBuffer] = []
    private var gatheredBytes = 0
    private var channelMayHold = true
    /// True once something has gone out since it was set to false.
    var hasFlushed = false
    private var isQueued = false

    init(queue: FlushQueue) {
        self.queue = queue
    }

    /// The connection is there.
    ///
    /// - Parameter isEncrypted: A handler below has to see what is written.
    func attach(_ context: ChannelHandlerContext, isEncrypted: Bool) {
        self.context = context
        writesDirectly = !isEncrypted
        let handle = try? context.pipeline.syncOperations.withUnsafeTransportIfAvailable(
            of: NIOBSDSocket.Handle.self
        ) { $0 }
        descriptor = handle ?? -1
    }

    /// The connection is gone, and the number of its socket may be another's.
    func detach() {
        context = nil
        descriptor = -1
        first = nil
        more = []
        gatheredBytes = 0
    }

    /// Adds bytes; they go out when the event loop comes to the end of its turn, or with ``flush()``.
    ///
    /// - Parameter rest: What belongs directly behind them; nothing that a flush leads to comes in between. Of a
    ///   connection that is gone nothing is kept.
    func write(_ bytes: ByteBuffer, _ rest: ByteBuffer? = nil) {
        guard context != nil else { return }
        add(bytes)
        if let rest { add(rest) }
        wrote()
    }

    /// The same with what `body` composes, in memory that is used again and again.
    ///
    /// - Returns: How many bytes that were.
    @discardableResult
    func compose(_ body: (inout ByteBuffer) -> Void) -> Int {
        guard context != nil else { return 0 }
        let isBehind = first != nil && isFirstOwn && more.isEmpty
        var buffer = (isBehind ? first.take() : nil) ?? queue.takeSpare()
        let before = buffer.readableBytes
        body(&buffer)
        let byteCount = buffer.readableBytes - before
        gatheredBytes += byteCount
        if first == nil {
            first = buffer
            isFirstOwn = true
        } else {
            more.append(buffer)
        }
        wrote()
        return byteCount
    }

    private func add(_ bytes: ByteBuffer) {
        if first == nil {
            first = bytes
            isFirstOwn = false
        } else {
            more.append(bytes)
        }
        gatheredBytes += bytes.readableBytes
    }

    private func wrote() {
        if gatheredBytes > Self.gatherLimit {
            flush()
        } else if !isQueued {
            isQueued = true
            queue.add(self)
        }
    }

    /// Writes what was gathered.
    func flush() {
        guard var bytes = first.take() else { return }
        hasFlushed = true
        let byteCount = gatheredBytes
        gatheredBytes = 0
        let isDirect = writesDirectly && descriptor >= 0 && !holdsInChannel
        if more.isEmpty {
            if isDirect { bytes.moveReaderIndex(forwardBy: send(bytes)) }
            if bytes.readableBytes > 0 {
                pass(bytes)
            } else if isFirstOwn, byteCount <= Self.gatherLimit {
                queue.giveBack(consume bytes)
            }
            return
        }
        let more = self.more
        self.more = []
        if isDirect, byteCount <= Self.gatherLimit {
            let rest = queue.joined(bytes, more) { whole in
                let sent = send(whole)
                return sent < byteCount ? ByteBuffer(bytes: whole.readableBytesView.dropFirst(sent)) : nil
            }
            if let rest { pass(rest) }
        } else {
            pass(bytes, more)  // it writes them with one call, without a copy
        }
    }

    func flushAtEndOfTurn() {
        isQueued = false
        flush()
    }

    /// Writes what was gathered, and settles the receipt when the kernel has taken all of it.
    func whenSent(_ receipt: WriteReceipt) {
        flush()
        guard let context else { return receipt.settle(wasWritten: false) }
        guard untakenBytes > 0 else { return receipt.settle(wasWritten: true) }
        // Behind all that waits in the channel; it fails with that.
        let promise = context.eventLoop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { result in
            receipt.settle(wasWritten: (try? result.get()) != nil)
        }
        context.writeAndFlush(NIOAny(ByteBuffer()), promise: promise)
    }

    /// False after the end of the connection.
    var isAttached: Bool { context != nil }
    /// False while more waits in the channel than its mark allows.
    var isWritable: Bool { !channelMayHold || context?.channel.isWritable == true }

    /// Sets an option of TCP, where the connection is one; the kernel refuses it on any other.
    func setTCPOption(_ option: CInt, _ value: CInt) {
        var value = value
        setsockopt(descriptor, CInt(IPPROTO_TCP), option, &value, socklen_t(MemoryLayout<CInt>.size))
    }

    /// Whether bytes have come that nobody has read.
    var hasInput: Bool {
        var byte: UInt8 = 0
        return descriptor >= 0 && recv(descriptor, &byte, 1, CInt(MSG_PEEK) | CInt(MSG_DONTWAIT)) > 0
    }

    /// Bytes that the kernel has not taken.
    var untakenBytes: Int { gatheredBytes + (channelMayHold ? bytesInChannel : 0) }

    private var bytesInChannel: Int {
        (try? context?.channel.syncOptions?.getOption(.bufferedWritableBytes)) ?? 0
    }

    private var holdsInChannel: Bool {
        if channelMayHold { channelMayHold = bytesInChannel > 0 }
        return channelMayHold
    }

    private func pass(_ first: ByteBuffer, _ more: [ByteBuffer] = []) {
        channelMayHold = true
        context?.write(NIOAny(first), promise: nil)
        for buffer in more { context?.write(NIOAny(buffer), promise: nil) }
        context?.flush()
    }

    /// How much of it the kernel took. When it fails, the channel finds out the same way and closes.
    private func send(_ bytes: ByteBuffer) -> Int {
        bytes.withUnsafeReadableBytes { bytes in
            while true {
                #if canImport(Glibc)
                    let sent = Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
                #elseif canImport(Musl)
                    let sent = Musl.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
                #elseif canImport(Darwin)
                    let sent = Darwin.send(descriptor, bytes.baseAddress, bytes.count, 0)  // NIO sets SO_NOSIGPIPE
                #endif
                if sent < 0, errno == EINTR { continue }
                return max(sent, 0)
            }
        }
    }
}
