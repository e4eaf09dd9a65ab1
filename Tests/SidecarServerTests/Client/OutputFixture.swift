import NIOCore
import NIOEmbedded
import SidecarCore

@testable import SidecarServer

/// A client's output on an embedded channel that can be made to take nothing.
final class OutputFixture {
    /// Keeps what is written unsent, as a full socket does.
    private final class Stall: ChannelOutboundHandler {
        typealias OutboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        var isStalled = false

        func flush(context: ChannelHandlerContext) {
            if !isStalled { context.flush() }
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer

        private let output: ClientOutput

        init(_ output: ClientOutput) { self.output = output }

        func handlerAdded(context: ChannelHandlerContext) { output.attach(context, isEncrypted: true) }
        func channelWritabilityChanged(context: ChannelHandlerContext) { output.writabilityChanged() }
        func channelInactive(context: ChannelHandlerContext) { output.connectionLost() }
    }

    struct Record: Equatable {
        let kind: RefusalKind
        let action: SlowClientAction?
    }

    /// Records what it is told.
    private final class Owner: ClientOutputOwner {
        var records: [Record] = []
        var timesTooSlow = 0

        func noteLimited(by kind: RefusalKind, _ action: SlowClientAction?) {
            records.append(Record(kind: kind, action: action))
        }

        func closeAsTooSlow() { timesTooSlow += 1 }
        func outputIsClear() {}
    }

    let channel = EmbeddedChannel()
    let budget: SendBudget
    let output: ClientOutput
    private let stall = Stall()
    private let owner = Owner()

    /// - Parameters:
    ///   - maxBytes: What may wait for the client.
    ///   - total: What may wait for all.
    init(maxBytes: Int = .max, _ action: SlowClientAction = .close, total: Int = .max) throws {
        budget = SendBudget(limit: total)
        let buffers = SendBuffers(
            budget: budget,
            loops: SendBuffers.Loops(),
            limits: SendLimits(maxBytes: maxBytes, action: action),
            metrics: ServerMetrics(),
            eventLoop: channel.eventLoop
        )
        output = ClientOutput(
            owner: owner,
            codec: .rawFrames,
            flushes: FlushQueue(eventLoop: channel.eventLoop),
            buffers: buffers
        )
        try channel.pipeline.syncOperations.addHandler(stall)
        try channel.pipeline.syncOperations.addHandler(Handler(output))
    }

    deinit { _ = try? channel.finish(acceptAlreadyClosed: true) }

    /// What the owner was told.
    var records: [Record] { owner.records }
    var timesTooSlow: Int { owner.timesTooSlow }

    // MARK: What a handler and its client do

    /// Sends a text as a handler does; false when it was dropped.
    func send(_ text: String, to channel: ChannelName? = nil, _ action: SlowClientAction? = nil) -> Bool {
        if output.isClear {
            output.send(Self.message(text))
            return true
        }
        guard output.makeRoom(for: text.utf8.count, of: channel, action) else { return false }
        var message = Self.message(text)
        message.channel = channel
        output.append(message)
        return true
    }

    static func message(_ text: String) -> SendQueue.Message {
        SendQueue.Message(header: ByteBuffer(string: text), payload: nil)
    }

    /// The client takes nothing any more.
    func stopReading() {
        stall.isStalled = true
        channel.isWritable = false
        channel.pipeline.fireChannelWritabilityChanged()
    }

    /// It takes all that was written, and what follows.
    func readOn() {
        stall.isStalled = false
        channel.flush()
        channel.isWritable = true
        channel.pipeline.fireChannelWritabilityChanged()
    }

    /// What has gone out since it was asked last.
    func received() throws -> [String] {
        channel.embeddedEventLoop.run()
        var texts: [String] = []
        while let bytes = try channel.readOutbound(as: ByteBuffer.self) {
            if bytes.readableBytes > 0 { texts.append(String(buffer: bytes)) }
        }
        return texts
    }
}
