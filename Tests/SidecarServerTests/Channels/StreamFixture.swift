import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

/// An event stream in the channel `room`, whose broker answers when the test says so.
struct StreamFixture {
    let rig: EdgeRig
    let broker: DelayedBroker
    let room: ChannelName

    /// - Parameters:
    ///   - lastEventID: What the client returns with; nil for one that begins.
    ///   - channels: What the app subscribes it to.
    init(
        _ environment: [String: String] = [:],
        lastEventID: String? = "a-1",
        channels: String = "room"
    ) throws {
        room = try #require(ChannelName("room"))
        let settings = ["SSE_PATHS": "/events"].merging(environment) { $1 }
        rig = try EdgeRig(settings) { DelayedBroker(events: $0) }
        broker = try #require(rig.shard.state.channels.broker as? DelayedBroker)
        let head = try open(rig.client, lastEventID, channels)
        #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n") && head.hasSuffix("\r\n\r\n:\n\n"))
    }

    /// Another stream of another client; gets the head of its answer.
    @discardableResult
    func open(_ client: EmbeddedChannel, _ lastEventID: String?, _ channels: String = "room") throws -> String {
        let id = lastEventID.map { "Last-Event-ID: \($0)\r\n" } ?? ""
        try client.writeInbound(
            ByteBuffer(string: "GET /events HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\(id)\r\n")
        )
        rig.loop.run()
        try rig.appSends("HTTP/1.1 200 OK\r\nSidesocket-Subscribe: \(channels)\r\nContent-Length: 0\r\n\r\n")
        return try Self.text(client, rig.loop)
    }

    /// A client that has not sent anything yet.
    func anotherClient() throws -> EmbeddedChannel {
        let channel = EmbeddedChannel(handler: EdgeHTTPHandler(loop: rig.shard.clients), loop: rig.loop)
        channel.connect(to: try SocketAddress(unixDomainSocketPath: "/nobody"), promise: nil)
        return channel
    }

    /// A message of the channel arrives.
    func receive(_ text: String, at sequence: UInt64, context: (any AnyObject & Sendable)? = nil) {
        broker.receive(text, at: sequence, in: room, context: context)
    }

    /// An operator sends a message to the client alone.
    func send(_ text: String) {
        let tally = PublicationTally(of: PreparedMessage(.text, ByteBuffer(string: text)), waitsForKernel: false)
        rig.shard.channels.deliver(tally, to: rig.shard.sessions.all)
    }

    /// What waits for clients, in bytes.
    var heldBytes: Int { rig.shard.state.sendBuffers.held }

    /// The events that have come at the client since the last call, each as its position and text.
    func received() throws -> [String] { try received(by: rig.client) }

    func received(by client: EmbeddedChannel) throws -> [String] {
        try Self.text(client, rig.loop).split(separator: "\n\n").map(Self.event)
    }

    private static func text(_ client: EmbeddedChannel, _ loop: EmbeddedEventLoop) throws -> String {
        loop.run()
        var text = ""
        while let bytes = try client.readOutbound(as: ByteBuffer.self) { text += String(buffer: bytes) }
        return text
    }

    private static func event(_ block: Substring) -> String {
        var parts: [Substring] = []
        for line in block.split(separator: "\n") {
            if line.hasPrefix("id: ") {
                parts.append(line.dropFirst(4).split(separator: "-").dropFirst().first ?? "")
            } else if line.hasPrefix("event: ") {
                parts.append(line.dropFirst(7))
            } else if line.hasPrefix("data: ") {
                parts.append(line.dropFirst(6).prefix(8))
            }
        }
        return parts.joined(separator: " ")
    }
}
