import NIOCore
import SidecarCore
import Testing

@Suite("Token finder")
struct TokenFinderTests {
    private func find(_ sources: [TokenSource], target: String = "/ws", _ fields: String...) throws -> TokenFinder.Found
    {
        TokenFinder(sources).find(in: try Heads.request(lines: ["GET \(target) HTTP/1.1", "Host: a"] + fields))
    }

    @Test("Each source is read in its own way")
    func sources() throws {
        #expect(try find([.subprotocol], "Sec-WebSocket-Protocol: chat, sidesocket.bearer.a.b.c") == .token("a.b.c"))
        #expect(try find([.subprotocol], "Sec-WebSocket-Protocol: sidesocket.bearer") == .nothing)
        #expect(try find([.authorization], "Authorization: bEARER  a.b.c") == .token("a.b.c"))
        #expect(try find([.authorization], "Authorization: Basic YTpi") == .nothing)
        #expect(try find([.authorization], "Authorization: Bearer") == .token(""))
        #expect(try find([.cookie("t")], "Cookie: xt=1; t=a.b.c; T=2") == .token("a.b.c"))
        #expect(try find([.query("t")], target: "/ws?x=1&t=a%2Eb.c") == .token("a.b.c"))
        #expect(try find([.query("t")], target: "/ws;t=1?xt=1&T=2&t") == .token(""))
        #expect(try find([.query("t")], target: "/ws?xt=1&T=2") == .nothing)
        #expect(try find([.message], "Authorization: Bearer a") == .nothing)
    }

    @Test("The first source that has one decides, and two in it are none")
    func order() throws {
        let both = ["Authorization: Bearer a", "Cookie: t=b"]
        #expect(try find([.cookie("t"), .authorization], both[0], both[1]) == .token("b"))
        #expect(try find([.authorization, .cookie("t")], both[0], both[1]) == .token("a"))
        #expect(try find([.cookie("t"), .authorization], both[0], "Cookie: t=b; t=c") == .ambiguous)
        #expect(try find([.authorization], both[0], both[0]) == .ambiguous)
        #expect(try find([.query("t")], target: "/ws?t=a&t=a") == .ambiguous)
        #expect(
            try find(
                [.subprotocol],
                "Sec-WebSocket-Protocol: sidesocket.bearer.a",
                "Sec-WebSocket-Protocol: sidesocket.bearer.b"
            )
                == .ambiguous
        )
    }

    @Test("A message is a token when it comes first, later only behind its prefix, and never in binary")
    func messages() {
        let bare = ByteBuffer(string: "a.b.c")
        let marked = ByteBuffer(string: "sidesocket.bearer.a.b.c")
        #expect(TokenFinder.first(.text, bare) == "a.b.c" && TokenFinder.first(.text, marked) == "a.b.c")
        #expect(TokenFinder.renewal(.text, bare) == nil && TokenFinder.renewal(.text, marked) == "a.b.c")
        #expect(TokenFinder.first(.binary, bare) == nil && TokenFinder.renewal(.binary, marked) == nil)
        #expect(TokenFinder.renewal(.text, ByteBuffer(string: "sidesocket.bearer")) == nil)
        #expect(TokenFinder.renewal(.text, ByteBuffer(string: "sidesocket.bearer.")) == "")
    }
}
