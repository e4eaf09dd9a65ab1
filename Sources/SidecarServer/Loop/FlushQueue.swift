import NIOCore

/// The connections of one event loop that have gathered something to write.
///
/// Written one after the other at the end of a turn, they find their readers awake: the first write wakes an app or a
/// load balancer that many connections lead to, the others cost no wake-up.
final class FlushQueue {
    /// So many gather before they are written, so that nobody waits long.
    private static let most = 16
    /// How large a new buffer is, in bytes.
    private static let spareCapacity = 1024

    private let eventLoop: any EventLoop
    private var waiting: [SocketOutput] = []
    private var flushing: [SocketOutput] = []
    private var isScheduled = false
    private var isFlushing = false
    private var isHeld = false
    /// Buffers that are written into by turns, so that a message costs no allocation.
    private var spares: [ByteBuffer] = []
    private var buffer = ByteBufferAllocator().buffer(capacity: SocketOutput.gatherLimit)

    init(eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
    }

    func add(_ output: SocketOutput) {
        waiting.append(output)
        if waiting.count >= Self.most, !isHeld { return flush() }
        guard !isScheduled else { return }
        isScheduled = true
        // It runs when all that is readable has been read.
        eventLoop.assumeIsolated().execute {
            self.isScheduled = false
            self.flush()
        }
    }

    /// Writes everything now.
    func flush() {
        guard !isFlushing else { return }  // a write that makes another one: its turn comes below
        isFlushing = true
        while !waiting.isEmpty {
            swap(&waiting, &flushing)
            for index in flushing.indices { flushing[index].flushAtEndOfTurn() }
            flushing.removeAll(keepingCapacity: true)
        }
        if spares.count > Self.most { spares.removeLast(spares.count - Self.most) }
        isFlushing = false
    }

    /// Gathers all that `body` writes, however many connections that are: several messages for each of them then cost
    /// one write.
    func gathering(_ body: () -> Void) {
        isHeld = true
        body()
        isHeld = false
        flush()
    }

    /// An empty buffer, to be given back when what is written into it is out.
    func takeSpare() -> ByteBuffer {
        spares.popLast() ?? ByteBufferAllocator().buffer(capacity: Self.spareCapacity)
    }

    /// Takes a buffer back that nobody else holds, and that is not large.
    func giveBack(_ buffer: consuming ByteBuffer) {
        buffer.moveReaderIndex(to: 0)
        buffer.moveWriterIndex(to: 0)
        spares.append(buffer)
    }

    /// Hands several buffers as one to `body`.
    func joined(_ first: ByteBuffer, _ more: [ByteBuffer], _ body: (ByteBuffer) -> ByteBuffer?) -> ByteBuffer? {
        buffer.clear()
        buffer.writeImmutableBuffer(first)
        for part in more { buffer.writeImmutableBuffer(part) }
        return body(buffer)
    }
}
