import NIOCore
import SidecarCore
import Testing

@Suite("Switching protocols")
struct SwitchingProtocolsTests {
    private func written(_ fields: String..., offered: [String] = [], extensions: String? = nil) throws -> [String] {
        let head = try SwitchingProtocols(
            acceptKey: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
            extensions: extensions,
            reply: try Heads.reply(lines: ["HTTP/1.1 200 OK"] + fields),
            offered: offered
        )
        return lines(head)
    }

    private func lines(_ head: SwitchingProtocols) -> [String] {
        var buffer = ByteBuffer()
        HTTPResponseWriter.write(head, into: &buffer)
        return Heads.lines(buffer)
    }

    private let start = [
        "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
    ]

    @Test("The 101 is complete without any field of the app")
    func plain() throws {
        let answer = try written("Content-Length: 0")
        #expect(answer == start + ["", ""])
    }

    @Test("An agreed extension is named, also in a 101 that the app has no part in")
    func extensions() throws {
        let accepted = try written("X: y", extensions: "permessage-deflate")
        #expect(accepted == start + ["Sec-WebSocket-Extensions: permessage-deflate", "X: y", "", ""])
        let unasked = lines(
            SwitchingProtocols(acceptKey: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", extensions: "permessage-deflate")
        )
        #expect(unasked == start + ["Sec-WebSocket-Extensions: permessage-deflate", "", ""])
    }

    @Test("Cookies, the subprotocol and other end-to-end fields travel on")
    func fields() throws {
        let answer = try written(
            "Set-Cookie: a=1",
            "set-cookie: b=2",
            "Sec-WebSocket-Protocol: chat",
            "X-Request-Id: 7",
            "Content-Security-Policy: default-src 'self'",
            offered: ["v2", "chat"]
        )
        #expect(
            answer == start + [
                "Set-Cookie: a=1", "set-cookie: b=2", "Sec-WebSocket-Protocol: chat", "X-Request-Id: 7",
                "Content-Security-Policy: default-src 'self'", "", "",
            ]
        )
    }

    @Test("What the app says about the handshake, the hop, the body or to us stays here")
    func dropped() throws {
        let answer = try written(
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
        #expect(answer == start + ["", ""])
    }

    @Test("A subprotocol that was not offered is 502 (abuse case 10)")
    func notOffered() throws {
        for (chosen, offered) in [
            (["chat"], []), (["chat"], ["v2"]), (["Chat"], ["chat"]), (["chat, v2"], ["chat", "v2"]), ([""], ["chat"]),
            (["chat", "chat"], ["chat"]), (["chat", "v2"], ["chat", "v2"]), (["chat "], ["cha"]),
        ] as [([String], [String])] {
            let reply = try Heads.reply(
                lines: ["HTTP/1.1 200 OK"] + chosen.map { "Sec-WebSocket-Protocol: \($0)" }
            )
            var status: Int?
            do throws(Refusal) {
                _ = try SwitchingProtocols(acceptKey: "x", reply: reply, offered: offered)
            } catch {
                status = error.status
            }
            #expect(status == 502, "\(chosen)")
        }
    }

    @Test("An app that chooses none of the offered subprotocols is right, too")
    func noneChosen() throws {
        let answer = try written("X: y", offered: ["chat"])
        #expect(answer == start + ["X: y", "", ""])
    }
}
