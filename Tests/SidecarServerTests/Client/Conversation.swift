import NIOCore
import NIOEmbedded
import Testing

@testable import SidecarServer

/// A client, its session and the app, all in memory.
struct Conversation {
    let rig: EdgeRig

    /// Opens a WebSocket that the app accepts with these fields.
    init(_ environment: [String: String] = [:], accepting fields: String = "") throws {
        rig = try EdgeRig(environment)
        try rig.clientSends(
            "GET /ws/chat?room=1 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        let open = try rig.appReceived()
        #expect(open.contains("ce-type: sidesocket.open\r\n"))
        try reply("204 No Content", fields)
        let answer = try rig.clientReceived()
        #expect(answer.hasPrefix("HTTP/1.1 101 Switching Protocols\r\n"))
    }

    /// A frame, masked with zeros.
    static func frame(_ opcode: UInt8, _ payload: [UInt8]) -> [UInt8] {
        [0x80 | opcode, 0x80 | UInt8(truncatingIfNeeded: payload.count), 0, 0, 0, 0] + payload
    }

    func send(_ opcode: UInt8, _ payload: [UInt8]) throws { try send(bytes: Self.frame(opcode, payload)) }

    func send(bytes: some Sequence<UInt8>) throws {
        try rig.client.writeInbound(ByteBuffer(bytes: bytes))
        rig.loop.run()
    }

    func send(_ text: String) throws { try send(1, Array(text.utf8)) }

    /// The app answers the event that it has got.
    func reply(_ status: String, _ fields: String = "", body: String = "") throws {
        try rig.appSends("HTTP/1.1 \(status)\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
    }

    /// The frames that have come at the client: opcode and payload.
    func frames() throws -> [String] {
        rig.loop.run()
        var bytes = ByteBuffer()
        while var more = try rig.client.readOutbound(as: ByteBuffer.self) { bytes.writeBuffer(&more) }
        var found: [String] = []
        while let first = bytes.readInteger(as: UInt8.self), let length = bytes.readInteger(as: UInt8.self),
            var payload = bytes.readSlice(length: Int(length))
        {
            switch first & 0x0F {
            case 8:
                let code = payload.readInteger(as: UInt16.self) ?? 0
                found.append("close \(code) \(String(buffer: payload))")
            case 9: found.append("ping")
            case 10: found.append("pong \(String(buffer: payload))")
            default: found.append(String(buffer: payload))
            }
        }
        return found
    }

    /// The type of the event that the app has got, and what it brings.
    func event() throws -> String {
        let request = try rig.appReceived()
        guard let type = request.firstRange(of: "ce-type: sidesocket."), let end = request.firstRange(of: "\r\n\r\n")
        else { return request }
        let name = request[type.upperBound...].prefix { $0 != "\r\n" }
        return "\(name) \(request[end.upperBound...])"
    }

    var hasSessions: Bool { !rig.shard.isWithoutSessions }
}
