import NIOCore
import NIOEmbedded
import Testing

@testable import SidecarServer

/// Several connections of one loop, and what goes out on them, in order.
private final class Connections {
    /// Notes what is written on one connection.
    private final class Recorder: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        let name: Int
        unowned let all: Connections
        /// Called after a write.
        var onWrite: (() -> Void)?

        init(_ name: Int, _ all: Connections) {
            self.name = name
            self.all = all
        }

        func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
            all.written.append("\(name): \(String(buffer: unwrapOutboundIn(data)))")
            context.write(data, promise: promise)
            onWrite?()
        }
    }

    private final class Holder: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let output: SocketOutput

        init(_ output: SocketOutput) { self.output = output }

        func handlerAdded(context: ChannelHandlerContext) { output.attach(context, isEncrypted: true) }
        func handlerRemoved(context: ChannelHandlerContext) { output.detach() }
    }

    let loop = EmbeddedEventLoop()
    let queue: FlushQueue
    private(set) var outputs: [SocketOutput] = []
    private var recorders: [Recorder] = []
    private var channels: [EmbeddedChannel] = []
    fileprivate(set) var written: [String] = []

    init(_ count: Int) {
        queue = FlushQueue(eventLoop: loop)
        for name in 0..<count {
            let output = SocketOutput(queue: queue)
            outputs.append(output)
            let recorder = Recorder(name, self)
            recorders.append(recorder)
            channels.append(EmbeddedChannel(handlers: [recorder, Holder(output)], loop: loop))
        }
    }

    deinit {
        for channel in channels { channel.close(promise: nil) }
        loop.run()
    }

    func write(_ text: String, on connection: Int) { outputs[connection].write(ByteBuffer(string: text)) }
    func compose(_ text: String, on connection: Int) { outputs[connection].compose { $0.writeString(text) } }
    func whenWritten(on connection: Int, _ body: @escaping () -> Void) { recorders[connection].onWrite = body }
    func close(_ connection: Int) {
        outputs[connection].detach()
        channels[connection].close(promise: nil)
    }
}

@Suite("What is gathered before it goes out")
struct FlushQueueTests {
    @Test("It goes out at the end of the turn, in the order in which connections began to write")
    func endOfTurn() {
        let all = Connections(3)
        for connection in [2, 0, 1, 2] { all.write("x", on: connection) }
        #expect(all.written == [])
        all.loop.run()
        #expect(all.written == ["2: x", "2: x", "0: x", "1: x"])
        all.loop.run()
        #expect(all.written.count == 4)
    }

    @Test("Of sixteen connections nobody waits for more", arguments: [15, 16, 17])
    func most(count: Int) {
        let all = Connections(count)
        for connection in 0..<count { all.write("x", on: connection) }
        #expect(all.written.count == (count < 16 ? 0 : 16))
        all.loop.run()
        #expect(all.written == (0..<count).map { "\($0): x" })
    }

    @Test("Where several are written to on purpose, all wait for the end of that")
    func gathering() {
        let all = Connections(40)
        all.queue.gathering {
            for connection in 0..<40 {
                all.compose("a", on: connection)
                all.compose("b", on: connection)
            }
            #expect(all.written == [])
        }
        #expect(all.written == (0..<40).map { "\($0): ab" }, "each with one write")
    }

    @Test("What one connection composes is one write; what comes whole is its own")
    func joined() {
        let all = Connections(1)
        for text in ["a", "b", "c"] { all.compose(text, on: 0) }
        all.write("d", on: 0)
        all.compose("e", on: 0)
        all.loop.run()
        #expect(all.written == ["0: abc", "0: d", "0: e"])
    }

    @Test("More than it gathers goes out at once, with what was before it", arguments: [4095, 4096, 4097])
    func large(byteCount: Int) {
        let all = Connections(1)
        all.write(String(repeating: "x", count: byteCount - 1), on: 0)
        all.write("y", on: 0)
        #expect(all.written.count == (byteCount > 4096 ? 2 : 0))
        all.loop.run()
        #expect(all.written.count == 2)
    }

    @Test("A write that a write leads to goes out in the same flush")
    func nested() {
        let all = Connections(2)
        all.whenWritten(on: 0) { [unowned all] in
            if all.written.count == 1 { all.write("again", on: 0) }
            if all.written.count == 1 { all.write("too", on: 1) }
        }
        all.write("x", on: 0)
        all.queue.flush()
        #expect(all.written == ["0: x", "0: again", "1: too"])
    }

    @Test("A connection that has gone meanwhile writes nothing, and holds up nobody")
    func gone() {
        let all = Connections(3)
        for connection in 0..<3 { all.write("x", on: connection) }
        all.close(1)
        all.loop.run()
        #expect(all.written == ["0: x", "2: x"])
        all.write("y", on: 1)
        all.loop.run()
        #expect(all.written.count == 2)
    }

    @Test("Buffers are used again, empty")
    func spares() {
        let all = Connections(1)
        var buffer = all.queue.takeSpare()
        buffer.writeString("secret")
        all.queue.giveBack(buffer)
        let again = all.queue.takeSpare()
        #expect(again.readableBytes == 0)
    }
}
