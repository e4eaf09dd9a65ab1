import ListenerSupport
import Logging
import NIOCore
import NIOEmbedded
import Testing

@testable import ControlPlane

@Suite("Failed accepts")
struct AcceptErrorHandlerTests {
    /// Stands for the socket's side: counts the reads that reach it.
    private final class ReadCounter: ChannelOutboundHandler {
        typealias OutboundIn = Any
        var reads = 0

        func read(context: ChannelHandlerContext) {
            self.reads += 1
        }
    }

    /// Stands for the server's side: counts the errors that reach it.
    private final class ErrorCounter: ChannelInboundHandler {
        typealias InboundIn = Any
        var errors = 0

        func errorCaught(context: ChannelHandlerContext, error: any Error) {
            self.errors += 1
        }
    }

    private let channel = EmbeddedChannel()
    private let socket = ReadCounter()
    private let server = ErrorCounter()

    init() throws {
        let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let handler = AcceptErrorHandler(listener: "test", pause: .milliseconds(200), logger: logger)
        try self.channel.pipeline.syncOperations.addHandlers([self.socket, handler, self.server])
        try self.channel.connect(to: SocketAddress(unixDomainSocketPath: "/x")).wait()
        self.socket.reads = 0
    }

    private func failAccept() {
        self.channel.pipeline.fireErrorCaught(IOError(errnoCode: 24, reason: "accept"))
    }

    @Test("After a failed accept nothing is read until the pause is over, and the server isn't told")
    func pause() {
        self.channel.read()
        #expect(self.socket.reads == 1)
        self.failAccept()
        self.failAccept()
        self.channel.read()
        self.channel.embeddedEventLoop.advanceTime(by: .milliseconds(199))
        self.channel.read()
        #expect(self.socket.reads == 1)
        self.channel.embeddedEventLoop.advanceTime(by: .milliseconds(1))
        self.channel.read()
        #expect(self.socket.reads == 2)
        #expect(self.server.errors == 0)
    }

    @Test("Other errors reach the server and stop nothing")
    func otherErrors() {
        self.channel.pipeline.fireErrorCaught(ChannelError.inputClosed)
        self.channel.read()
        #expect(self.socket.reads == 1)
        #expect(self.server.errors == 1)
    }

    @Test("A listener that closes during the pause is left alone")
    func closed() throws {
        self.failAccept()
        _ = try self.channel.finish()
        self.channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(self.server.errors == 0)
    }
}

@Suite("Paced accepting")
struct AcceptPaceTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    @Test("A burst is accepted at once, then so many a millisecond")
    func burstThenPace() {
        var pace = AcceptPace(perMillisecond: 2, burst: 10)
        for _ in 0..<10 {
            #expect(pace.wait(at: start) == nil)
            pace.accepted()
        }
        #expect(pace.wait(at: start) == .microseconds(500))
        #expect(pace.wait(at: start + .microseconds(499)) == .microseconds(1))
        #expect(pace.wait(at: start + .microseconds(500)) == nil)
    }

    @Test("After a pause several are accepted, and no more than in a burst", arguments: [(4, 4), (99, 8)])
    func batch(asked: Int, accepted: Int) {
        var pace = AcceptPace(perMillisecond: 1, burst: 8, batch: asked)
        for _ in 0..<8 { pace.accepted() }
        let pause = TimeAmount.milliseconds(Int64(accepted))
        #expect(pace.wait(at: start) == pause)
        for _ in 0..<accepted {
            #expect(pace.wait(at: start + pause) == nil)
            pace.accepted()
        }
        #expect(pace.wait(at: start + pause) == pause)
    }

    @Test("What one read accepted beyond the pace is waited for")
    func debt() {
        var pace = AcceptPace(perMillisecond: 1, burst: 1)
        #expect(pace.wait(at: start) == nil)
        for _ in 0..<4 { pace.accepted() }
        #expect(pace.wait(at: start) == .milliseconds(4))
        #expect(pace.wait(at: start + .milliseconds(4)) == nil)
    }

    @Test("A quiet time earns a burst and no more; time that stands still or runs back earns nothing")
    func refill() {
        var pace = AcceptPace(perMillisecond: 1, burst: 3)
        for _ in 0..<3 { pace.accepted() }
        #expect(pace.wait(at: start) != nil)
        #expect(pace.wait(at: start - .seconds(1)) != nil)
        #expect(pace.wait(at: start + .hours(1)) == nil)
        for _ in 0..<3 { pace.accepted() }
        #expect(pace.wait(at: start + .hours(1)) == .milliseconds(1))
    }

    @Test("A pace of nothing still accepts")
    func smallest() {
        var pace = AcceptPace(perMillisecond: 0, burst: 0)
        #expect(pace.wait(at: start) == nil)
        pace.accepted()
        #expect(pace.wait(at: start) == .seconds(1))
    }
}
