import Testing

@testable import WebSocketProtocol

@Suite struct HandshakeTests {
    /// The request of RFC 6455 §1.3.
    static let sample = UpgradeRequest(
        method: "GET",
        httpMajor: 1,
        httpMinor: 1,
        target: "/chat",
        hosts: ["server.example.com"],
        upgrade: ["websocket"],
        connection: ["Upgrade"],
        key: ["dGhlIHNhbXBsZSBub25jZQ=="],
        version: ["13"],
        protocols: [],
        hasBody: false
    )

    /// A change to the sample request.
    struct Change: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let status: Int
        let apply: @Sendable (inout UpgradeRequest) -> Void

        init(_ name: String, _ status: Int = 400, _ apply: @escaping @Sendable (inout UpgradeRequest) -> Void) {
            self.testDescription = name
            self.status = status
            self.apply = apply
        }

        var request: UpgradeRequest {
            var request = HandshakeTests.sample
            self.apply(&request)
            return request
        }
    }

    static func status(_ request: UpgradeRequest) -> Int {
        do throws(HandshakeRefusal) {
            _ = try Handshake.validate(request)
            return 101
        } catch {
            #expect(error.sentence.hasSuffix("."))
            return error.status
        }
    }

    @Test("The example of RFC 6455 gets its accept key")
    func example() throws {
        let accepted = try Handshake.validate(Self.sample)
        #expect(accepted == AcceptedUpgrade(acceptKey: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", offeredProtocols: []))
        #expect(Handshake.acceptKey(for: "dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        #expect(Handshake.acceptKey(for: "x3JJHMbDL1EzLkh9GBhXDw==") == "HSmrc0sMlYUkAGmm5OPpG2HaGWk=")
    }

    @Test(
        "Harmless variations are accepted",
        arguments: [
            Change("upper case", 101) {
                $0.upgrade = ["WebSocket"]; $0.connection = ["UPGRADE"]
            },
            Change("Firefox's Connection", 101) { $0.connection = ["keep-alive, Upgrade"] },
            Change("tokens over several fields", 101) {
                $0.connection = ["keep-alive", "upgrade"]; $0.upgrade = ["h2c", "websocket"]
            },
            Change("a list with empty elements", 101) { $0.connection = [", ,keep-alive,,\tupgrade ,"] },
            Change("HTTP/1.2", 101) { $0.httpMinor = 2 },
            Change("blanks around the key and version", 101) {
                $0.key = [" dGhlIHNhbXBsZSBub25jZQ==\t"]; $0.version = [" 13 "]
            },
            Change("a host with a port", 101) { $0.hosts = ["[::1]:8080"] },
            Change("a query", 101) { $0.target = "/?a=http://x/" },
            Change("a key with all kinds of digits", 101) { $0.key = ["AZaz09+/AZaz09+/AZaz0w=="] },
            Change("a key with spare bits that are set", 101) { $0.key = ["AZaz09+/AZaz09+/AZaz0/=="] },
        ]
    )
    func accepted(change: Change) {
        #expect(Self.status(change.request) == 101)
    }

    @Test(
        "A handshake that breaks a rule is refused",
        arguments: [
            Change("POST") { $0.method = "POST" },
            Change("get in lower case") { $0.method = "get" },
            Change("CONNECT") { $0.method = "CONNECT" },
            Change("no method") { $0.method = "" },
            Change("HTTP/1.0") { $0.httpMinor = 0 },
            Change("HTTP/0.9") {
                $0.httpMajor = 0; $0.httpMinor = 9
            },
            Change("HTTP/2.0") {
                $0.httpMajor = 2; $0.httpMinor = 0
            },
            Change("HTTP/2.1") { $0.httpMajor = 2 },
            Change("no Host") { $0.hosts = [] },
            Change("two Hosts") { $0.hosts = ["a", "a"] },
            Change("an empty Host") { $0.hosts = [""] },
            Change("a Host with a blank") { $0.hosts = ["a b"] },
            Change("a Host with user info") { $0.hosts = ["a@b"] },
            Change("a Host with a path") { $0.hosts = ["a/b"] },
            Change("a Host with a control character") { $0.hosts = ["a\u{7F}"] },
            Change("a Host that is not ASCII") { $0.hosts = ["ä"] },
            Change("an absolute target") { $0.target = "http://169.254.169.254/" },
            Change("an absolute wss target") { $0.target = "wss://server.example.com/chat" },
            Change("an authority target") { $0.target = "x:1" },
            Change("an asterisk target") { $0.target = "*" },
            Change("no target") { $0.target = "" },
            Change("no Upgrade") { $0.upgrade = [] },
            Change("another Upgrade") { $0.upgrade = ["h2c"] },
            Change("a longer Upgrade") { $0.upgrade = ["websockets"] },
            Change("a shorter Upgrade") { $0.upgrade = ["websocke"] },
            Change("an Upgrade with a version") { $0.upgrade = ["websocket/13"] },
            Change("an Upgrade without a comma") { $0.upgrade = ["h2c websocket"] },
            Change("no Connection") { $0.connection = [] },
            Change("another Connection") { $0.connection = ["keep-alive"] },
            Change("a Connection of similar tokens") { $0.connection = ["upgraded, xupgrade, up grade"] },
            Change("an empty Connection") { $0.connection = [""] },
            Change("no key") { $0.key = [] },
            Change("two keys") { $0.key += $0.key },
            Change("an empty key") { $0.key = [""] },
            Change("a key of 15 bytes") { $0.key = ["AAAAAAAAAAAAAAAAAAAA"] },
            Change("a key of 17 bytes") { $0.key = ["AAAAAAAAAAAAAAAAAAAAAAA="] },
            Change("a key of 18 bytes") { $0.key = ["AAAAAAAAAAAAAAAAAAAAAAAA"] },
            Change("a key without padding") { $0.key = ["dGhlIHNhbXBsZSBub25jZQ"] },
            Change("a key with half its padding") { $0.key = ["dGhlIHNhbXBsZSBub25jZQ="] },
            Change("a key of 15 bytes with padding for one more") { $0.key = ["AAAAAAAAAAAAAAAAAAAA===="] },
            Change("a key with three times its padding") { $0.key = ["AAAAAAAAAAAAAAAAAAAAA==="] },
            Change("a key with a digit behind its padding") { $0.key = ["AAAAAAAAAAAAAAAAAAAAAA=A"] },
            Change("a key with a digit before its padding") { $0.key = ["AAAAAAAAAAAAAAAAAAAAA=A="] },
            Change("a key with padding inside") { $0.key = ["dGhlIHNhbXBsZSBub25j=Q=="] },
            Change("a key with a dash") { $0.key = ["dGhlIHNhbXBsZSBub25j-Q=="] },
            Change("a key with a blank inside") { $0.key = ["dGhlIHNhbXBs SBub25jZQ=="] },
            Change("a key that is not base64") { $0.key = ["!!!!!!!!!!!!!!!!!!!!!!=="] },
            Change("a key of characters beyond ASCII") { $0.key = ["ääääääääää=="] },
            Change("two keys in one field") { $0.key = ["dGhlIHNhbXBsZSBub25jZQ==,dGhlIHNhbXBsZSBub25jZQ=="] },
            Change("a body") { $0.hasBody = true },
            Change("no version") { $0.version = [] },
            Change("two versions") { $0.version = ["13", "13"] },
            Change("version 12", 426) { $0.version = ["12"] },
            Change("version 14", 426) { $0.version = ["14"] },
            Change("version 8", 426) { $0.version = ["8"] },
            Change("version 013", 426) { $0.version = ["013"] },
            Change("version 13.0", 426) { $0.version = ["13.0"] },
            Change("a list of versions", 426) { $0.version = ["8, 13"] },
            Change("an empty version", 426) { $0.version = [""] },
        ]
    )
    func refused(change: Change) {
        #expect(Self.status(change.request) == change.status)
    }

    @Test(
        "Subprotocols are offered in the client's order",
        arguments: [
            ([], []), (["chat"], ["chat"]), (["chat, superchat"], ["chat", "superchat"]),
            (["b,a"], ["b", "a"]), (["a", "b, c"], ["a", "b", "c"]), ([" a\t,,b, "], ["a", "b"]),
            (["Chat, chat"], ["Chat", "chat"]), (["!#$%&'*+-.^_`|~09azAZ"], ["!#$%&'*+-.^_`|~09azAZ"]),
        ] as [([String], [String])]
    )
    func protocols(fields: [String], offered: [String]) throws {
        var request = Self.sample
        request.protocols = fields
        #expect(try Handshake.validate(request).offeredProtocols == offered)
    }

    @Test(
        "Subprotocols that are no tokens or come twice are refused",
        arguments: [
            [""], [" "], [","], ["a b"], ["a/b"], ["\"a\""], ["a;q=1"], ["a\\"], ["a, a"], ["a", "a"],
            ["a, b", "c, a"],
            ["ä"], ["a\0"], ["a\u{7F}"], ["(a)"], ["a@b"], ["{a}"], ["a:b"], ["a=b"], ["a,b c,d"],
        ]
    )
    func badProtocols(fields: [String]) {
        var request = Self.sample
        request.protocols = fields
        #expect(Self.status(request) == 400)
    }

    @Test(
        "Junk of 300 KB in every list takes linear time",
        arguments: [" ", "\"", "\\", ",", ", ", "\t,", "\"\\", "a ", "ä"]
    )
    func junk(unit: String) {
        // Ten times what the head of a request may hold: anything quadratic would not come back.
        let junk = String(repeating: unit, count: 300_000 / unit.utf8.count)
        var request = Self.sample
        request.protocols = [junk]
        #expect(Self.status(request) == 400)
        request = Self.sample
        request.upgrade = [junk]
        #expect(Self.status(request) == 400)
        request = Self.sample
        request.connection = [junk + ",upgrade"]
        #expect(Self.status(request) == 101)
        request = Self.sample
        request.version = [junk]
        #expect(Self.status(request) == 426)
        request = Self.sample
        request.key = [junk]
        #expect(Self.status(request) == 400)
    }

    @Test("Many distinct subprotocols take linear time")
    func manyProtocols() throws {
        let names = (0..<20_000).map { "p\($0)" }
        var request = Self.sample
        request.protocols = [names.joined(separator: ",")]
        #expect(try Handshake.validate(request).offeredProtocols == names)
    }
}
