import Testing

@testable import SidecarCore

@Suite("Addresses in settings")
struct AddressTests {
    @Test("listen addresses are host and port, IPv6 in brackets, or a socket, comma-separated")
    func listen() throws {
        let text = "0.0.0.0:8080, [::]:8081,localhost:0,unix:/run/s.sock,unix:///run/t.sock,[FE80::1]:1"
        #expect(
            try ValueSyntax.listenAddresses.read(text) == [
                .tcp(host: "0.0.0.0", port: 8080), .tcp(host: "::", port: 8081), .tcp(host: "localhost", port: 0),
                .unix(path: "/run/s.sock"), .unix(path: "/run/t.sock"), .tcp(host: "fe80::1", port: 1),
            ]
        )
    }

    @Test(
        "what is no listen address is refused",
        arguments: [
            "8080", ":8080", "localhost", "localhost:", "localhost:65536", "localhost:-1", "localhost:+1",
            "localhost:080808", "::1:80", "[::1]", "[::1", "[::1]80", "[1.2.3.4]:80", "[]:80", "unix:", "unix:a",
            "unix:/", "unix://run/x", "unix:/a\nb", "http://localhost:80", "a b:80", "256.0.0.1:80", "1.2.3:80",
            "01.2.3.4:80", "-a:80", "a-:80", "a..b:80", ",", "a:1,,b:2", "a:1,", "a:1,a:1", "0.0.0.0:1,127.0.0.1:1",
            "[::]:1,[::1]:1", "unix:/a,unix:/a", "[fe80::1%eth0]:80", "ü:80", "",
        ]
    )
    func noListenAddress(text: String) {
        #expect(throws: ValueProblem.self) { try ValueSyntax.listenAddresses.read(text) }
    }

    @Test("a port is tried at its least and most")
    func ports() throws {
        #expect(try ValueSyntax.listenAddresses.read("a:0") == [.tcp(host: "a", port: 0)])
        #expect(try ValueSyntax.listenAddresses.read("a:65535") == [.tcp(host: "a", port: 65535)])
        #expect(throws: ValueProblem.self) { try ValueSyntax.appURLs.read("http://a:0") }
        #expect(try ValueSyntax.appURLs.read("http://a:1") == [.tcp(host: "a", port: 1, tls: false)])
    }

    @Test("a socket path may have as many bytes as the system takes")
    func socketPaths() throws {
        let longest = "/" + String(repeating: "s", count: HostSyntax.longestSocketPath - 1)
        #expect(try ValueSyntax.appURLs.read("unix:" + longest) == [.unix(path: longest)])
        #expect(throws: ValueProblem.self) { try ValueSyntax.appURLs.read("unix:" + longest + "s") }
    }

    @Test("two listeners on any free port do not collide")
    func anyPort() throws {
        #expect(try ValueSyntax.listenAddresses.read("a:0,a:0").count == 2)
    }

    @Test(
        "IPv6 addresses are told from what only looks like them",
        arguments: [
            ("::", true), ("::1", true), ("1::", true), ("1:2:3:4:5:6:7:8", true), ("::ffff:1.2.3.4", true),
            ("1::8", true), ("1:2:3:4:5:6:7::", true), ("::2:3:4:5:6:7:8", true), ("1:2:3:4:5:6:1.2.3.4", true),
            ("2001:db8::a:b", true),
            (":", false), (":::", false), ("1:2:3:4:5:6:7", false), ("1:2:3:4:5:6:7:8:9", false), ("1::2::3", false),
            (":1", false), ("1:", false), ("12345::", false), ("g::", false), ("::1.2.3", false), ("", false),
            ("1:2:3:4:5:6:7:1.2.3.4", false), ("::1.2.3.4:1", false), ("1:2:3:4::5:6:7:8", false), ("1:::2", false),
            ("[::1]", false), ("fe80::1%eth0", false), ("::ffff:01.2.3.4", false),
        ]
    )
    func ipv6(text: String, isAddress: Bool) {
        #expect(HostSyntax.isIPv6(text) == isAddress)
        #expect(!HostSyntax.isIPv4(text))
    }

    @Test(
        "an app is http, https or a socket, and its authority leaves the scheme's own port out",
        arguments: [
            ("http://app:3000", AppOrigin.tcp(host: "app", port: 3000, tls: false), "app:3000"),
            ("HTTP://App.Example:3000/", .tcp(host: "app.example", port: 3000, tls: false), "app.example:3000"),
            ("http://app", .tcp(host: "app", port: 80, tls: false), "app"),
            ("http://app:443", .tcp(host: "app", port: 443, tls: false), "app:443"),
            ("https://app", .tcp(host: "app", port: 443, tls: true), "app"),
            ("https://app:80", .tcp(host: "app", port: 80, tls: true), "app:80"),
            ("http://[::1]:3000", .tcp(host: "::1", port: 3000, tls: false), "[::1]:3000"),
            ("http://[::1]", .tcp(host: "::1", port: 80, tls: false), "[::1]"),
            ("http://my_app:1", .tcp(host: "my_app", port: 1, tls: false), "my_app:1"),
            ("unix:/run/app.sock", .unix(path: "/run/app.sock"), "localhost"),
        ]
    )
    func app(text: String, origin: AppOrigin, authority: String) throws {
        #expect(try ValueSyntax.appURLs.read(text) == [origin])
        #expect(origin.authority == authority)
        #expect(try ValueSyntax.appURLs.read(origin.description) == [origin])
    }

    @Test(
        "what is no app is refused",
        arguments: [
            "", "app", "app:3000", "//app", "ws://app", "ftp://app", "http://", "http:///", "http://app:", "http:app",
            "http://app/x", "http://app?x", "http://app#x", "http://u:p@app", "http://app//", "http://app:65536",
            "http://a,", "http://a,http://a", "http://a,nonsense", "unix:",
            "http://a\r\nb", "http://[::1]x",
            "http://[::g]",
            "http://%61", "http://a\\b",
        ]
    )
    func noApp(text: String) {
        #expect(throws: ValueProblem.self) { try ValueSyntax.appURLs.read(text) }
    }

    @Test("an app may have several addresses")
    func apps() throws {
        #expect(
            try ValueSyntax.appURLs.read("http://a:1, https://b ,unix:/c") == [
                .tcp(host: "a", port: 1, tls: false), .tcp(host: "b", port: 443, tls: true), .unix(path: "/c"),
            ]
        )
        let many = (1...65).map { "http://a:\($0)" }
        #expect(try ValueSyntax.appURLs.read(many.dropLast().joined(separator: ",")).count == 64)
        #expect(throws: ValueProblem.self) { try ValueSyntax.appURLs.read(many.joined(separator: ",")) }
    }

    @Test("the target of events is a path on the app or a URL elsewhere")
    func webhooks() throws {
        let syntax = ValueSyntax<WebhookTarget>.webhookURL
        #expect(try syntax.read("/events?k=%20") == WebhookTarget(origin: nil, path: "/events?k=%20"))
        let other = AppOrigin.tcp(host: "hooks", port: 443, tls: true)
        #expect(try syntax.read("https://hooks/in") == WebhookTarget(origin: other, path: "/in"))
        #expect(try syntax.read("https://hooks") == WebhookTarget(origin: other, path: "/"))
        #expect(try syntax.read("https://hooks?a=b") == WebhookTarget(origin: other, path: "/?a=b"))
        for text in ["events", "//hooks/in", "/a b", "/a#b", "/ü", "unix:/x", "/a\r\nb", "https://u@h/", "ftp://h/"] {
            #expect(throws: ValueProblem.self, "\(text)") { try syntax.read(text) }
        }
    }

    @Test("a path pattern is one path, or all below a prefix")
    func patterns() throws {
        let exact = try #require(PathPattern("/ws"))
        #expect(exact.matches("/ws") && !exact.matches("/ws/") && !exact.matches("/w") && !exact.matches("/wsx"))
        let below = try #require(PathPattern("/live/*"))
        #expect(below.matches("/live/x") && below.matches("/live/") && below.matches("/live/x/y"))
        #expect(!below.matches("/live") && !below.matches("/livex") && !below.matches("/LIVE/x"))
        #expect(PathPattern.everything.matches("/") && PathPattern.everything.matches("/a/b"))
        #expect(!PathPattern.everything.matches("*") && !PathPattern.everything.matches(""))
        #expect(below.matches(Array("/live/x".utf8)[...]))
        #expect(PathPattern("/*") == .everything)
    }

    @Test(
        "what is no path pattern is refused",
        arguments: ["", "ws", "*", "/a*", "/*/b", "/**", "/a?b", "/a#", "/a b", "/ü"]
    )
    func noPattern(text: String) {
        #expect(PathPattern(text) == nil)
    }
}
