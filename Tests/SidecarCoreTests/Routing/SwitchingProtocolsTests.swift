import NIOCore
import SidecarCore
import Testing

@Suite("Switching protocols")
struct SwitchingProtocolsTests {
    private func write(_ fields: String..., offered: [String] = []) throws -> (refusal: Refusal?, lines: [String]) {
        var buffer = ByteBuffer()
        let refusal = SwitchingProtocols.write(
            acceptKey: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            reply: try Heads.reply(lines: ["HTTP/1.1 200 OK"] + fields),
            offered: offered,
            into: &buffer
        )
        return (refusal, Heads.lines(buffer))
    }

    private let start = [
        "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ]

    @Test("The 101 is complete without any field of the app")
    func plain() throws {
        let answer = try write("Content-Length: 0")
        #expect(answer.refusal == nil && answer.lines == start + ["", ""])
    }

    @Test("Cookies, the subprotocol and other end-to-end fields travel on")
    func fields() throws {
        let answer = try write(
            "Set-Cookie: a=1",
            "set-cookie: b=2",
            "Sec-WebSocket-Protocol: chat",
            "X-Request-Id: 7",
            "Content-Security-Policy: default-src 'self'",
            offered: ["v2", "chat"]
        )
        #expect(answer.refusal == nil)
        #expect(
            answer.lines == start + [
                "Set-Cookie: a=1", "set-cookie: b=2", "Sec-WebSocket-Protocol: chat", "X-Request-Id: 7",
                "Content-Security-Policy: default-src 'self'", "", "",
            ]
        )
    }

    @Test("What the app says about the handshake, the hop, the body or to us stays here")
    func dropped() throws {
        let answer = try write(
            "Sec-WebSocket-Accept: forged",
            "Sec-WebSocket-Extensions: permessage-deflate",
            "Sec-WebSocket-Version: 12",
            "Sec-WebSocket-Key: x",
            "Connection: close, X-Hop",
            "X-Hop: 1",
            "Upgrade: h2c",
            "Keep-Alive: timeout=5",
            "Transfer-Encoding: chunked",
            "Content-Type: text/plain",
            "Content-Encoding: identity",
            "Sidesocket-User: 42",
            "Sidesocket-Close: 4000"
        )
        #expect(answer.refusal == nil && answer.lines == start + ["", ""])
    }

    @Test("A subprotocol that was not offered is 502, and nothing is written (abuse case 10)")
    func notOffered() throws {
        for (chosen, offered) in [
            (["chat"], []), (["chat"], ["v2"]), (["Chat"], ["chat"]), (["chat, v2"], ["chat", "v2"]), ([""], ["chat"]),
            (["chat", "chat"], ["chat"]), (["chat", "v2"], ["chat", "v2"]), (["chat "], ["cha"]),
        ] as [([String], [String])] {
            var buffer = ByteBuffer()
            let refusal = SwitchingProtocols.write(
                acceptKey: "x",
                reply: try Heads.reply(
                    lines: ["HTTP/1.1 200 OK"] + chosen.map { "Sec-WebSocket-Protocol: \($0)" }
                ),
                offered: offered,
                into: &buffer
            )
            #expect(refusal?.status == 502 && buffer.readableBytes == 0, "\(chosen)")
        }
    }

    @Test("An app that chooses none of the offered subprotocols is right, too")
    func noneChosen() throws {
        #expect(try write("X: y", offered: ["chat"]).lines == start + ["X: y", "", ""])
    }
}
