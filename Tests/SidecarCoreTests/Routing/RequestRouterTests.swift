import NIOCore
import Testing

@testable import SidecarCore

@Suite("Request router")
struct RequestRouterTests {
    private func router(webhookPath: String? = nil, paths: [String] = ["/*"]) -> RequestRouter {
        RequestRouter(
            webSocketPaths: paths.compactMap { PathPattern($0) },
            streamPaths: ["/events", "/live/*"].compactMap { PathPattern($0) },
            protocolPaths: ["/poll", "/live/*"].compactMap { PathPattern($0) },
            webhookPath: webhookPath,
            scriptPath: "/client.js"
        )
    }

    private func route(_ lines: String..., webhookPath: String? = nil) throws -> String {
        switch router(webhookPath: webhookPath).route(try Heads.request(lines: lines)) {
        case .upgrade: "upgrade"
        case .eventStream: "stream"
        case .clientScript: "script"
        case .protocolPost(let asksForStream): asksForStream ? "post for a stream" : "post"
        case .protocolPreflight: "preflight"
        case .passThrough(let target, let closes, let inspects):
            (inspects ? "inspect" : "pass") + " \(target)" + (closes ? " close" : "")
        case .refuse(let refusal): "\(refusal.status) \(refusal.reason.rawValue)"
        }
    }

    @Test("A POST of the client protocol has exactly its type, on its paths; anything else goes to the app")
    func protocolPost() throws {
        let type = "Content-Type: application/vnd.sidesocket.v1+json"
        func post(_ lines: String...) throws -> String {
            let head = lines + ["Host: a", "Content-Length: 2"]
            return switch router().route(try Heads.request(lines: head)) {
            case .protocolPost(let asksForStream): asksForStream ? "stream" : "poll"
            case .passThrough: "pass"
            case .refuse(let refusal): "\(refusal.status)"
            default: "?"
            }
        }
        #expect(try post("POST /poll HTTP/1.1", type) == "poll")
        #expect(try post("POST /poll?join=a HTTP/1.1", type.uppercased()) == "poll")
        #expect(try post("POST /poll HTTP/1.1", type, "Accept: application/json") == "poll")
        #expect(try post("POST /live/x HTTP/1.1", type, "Accept: text/event-stream") == "stream")
        #expect(try post("POST /live/x HTTP/1.1", type, "Accept: text/event-stream;q=0") == "poll")
        #expect(try post("POST /Poll HTTP/1.1", type) == "pass")
        #expect(try post("POST /poll/ HTTP/1.1", type) == "pass")
        #expect(try post("PUT /poll HTTP/1.1", type) == "pass")
        #expect(try post("POST /poll HTTP/1.1") == "pass")
        #expect(try post("POST /poll HTTP/1.1", "Content-Type: text/plain") == "pass")
        #expect(try post("POST /poll HTTP/1.1", type + "; charset=utf-8") == "415")
        #expect(try post("POST /poll HTTP/1.1", type, type) == "415")
        #expect(try post("POST /poll HTTP/1.1", type, "Content-Type: text/plain") == "415")
        // A body that imitates our events would otherwise get to the app by this way.
        #expect(try post("POST /poll HTTP/1.1", type, "ce-type: sidesocket.message") == "403")
    }

    @Test("A preflight is answered on the paths of the protocol only")
    func preflight() throws {
        let asked = ["Host: a", "Origin: https://b.example", "Access-Control-Request-Method: POST"]
        func options(_ path: String, _ lines: [String]) throws -> RequestRoute {
            router().route(try Heads.request(lines: ["OPTIONS \(path) HTTP/1.1"] + lines))
        }
        #expect(try options("/poll", asked) == .protocolPreflight)
        #expect(try options("/other", asked) != .protocolPreflight)
        #expect(try options("/poll", Array(asked.dropLast())) != .protocolPreflight)
        #expect(try options("/poll", ["Host: a", asked[2]]) != .protocolPreflight)
    }

    @Test("CONNECT is refused with 405, whatever else it asks for")
    func connect() throws {
        #expect(try route("CONNECT x:1 HTTP/1.1", "Host: x:1") == "405 method")
        #expect(try route("CONNECT x:1 HTTP/1.1", "Host: x:1", "Upgrade: websocket") == "405 method")
    }

    @Test("Who asks for a WebSocket is sent to the handshake, also when the rest of the request is wrong")
    func upgrade() throws {
        #expect(try route("GET /ws HTTP/1.1", "Host: a", "Upgrade: WebSocket", "Connection: upgrade") == "upgrade")
        #expect(try route("GET /ws HTTP/1.1", "Host: a", "Upgrade: h2c, websocket") == "upgrade")
        #expect(try route("POST /ws HTTP/1.1", "Host: a", "Upgrade: x", "Upgrade: websocket") == "upgrade")
        #expect(try route("GET http://169.254.169.254/ HTTP/1.1", "Host: a", "Upgrade: websocket") == "upgrade")
    }

    @Test("The client script is had by GET and HEAD at exactly its path; the rest goes to the app")
    func clientScript() throws {
        #expect(try route("GET /client.js HTTP/1.1", "Host: a") == "script")
        #expect(try route("HEAD /client.js?v=2 HTTP/1.1", "Host: a") == "script")
        #expect(try route("GET http://a/client.js HTTP/1.1", "Host: a") == "script")
        #expect(try route("POST /client.js HTTP/1.1", "Host: a", "Content-Length: 0") == "pass /client.js")
        #expect(try route("GET /client.js HTTP/1.1", "Host: a", "Content-Length: 3") == "pass /client.js")
        for path in ["/client.js/", "/Client.js", "/client.jsx", "/x/client.js"] {
            #expect(try route("GET \(path) HTTP/1.1", "Host: a") == "pass \(path)")
        }
    }

    @Test("A GET that accepts events on one of the paths for them is a stream, and nothing else is")
    func eventStream() throws {
        let accepts = "Accept: text/html, Text/Event-Stream;q=0.9"
        #expect(try route("GET /events HTTP/1.1", "Host: a", accepts) == "stream")
        #expect(try route("GET /events?x=1 HTTP/1.0", "Host: a", accepts) == "stream")
        #expect(try route("GET /live/x HTTP/1.1", "Host: a", "Accept: x", accepts) == "stream")
        #expect(try route("POST /events HTTP/1.1", "Host: a", accepts) == "pass /events")
        #expect(try route("HEAD /events HTTP/1.1", "Host: a", accepts) == "pass /events")
        #expect(try route("GET /events/x HTTP/1.1", "Host: a", accepts) == "pass /events/x")
        #expect(try route("GET /events HTTP/1.1", "Host: a", "Accept: */*") == "pass /events")
        for accept in [
            "text/event-streamx", "xtext/event-stream", "text/event-stream;q=0", "text/event-stream ; Q=0.0",
            "text/event-stream\u{300}", "text/event-stream x", "text/event-stream;a;q=0.000 ;b", ";text/event-stream",
        ] {
            #expect(try route("GET /events HTTP/1.1", "Host: a", "Accept: \(accept)") == "pass /events")
        }
        for accept in [
            "text/event-stream", " text/event-stream", "\ttext/event-stream ;q=0.1", ",,text/event-stream,",
            "text/event-stream;q=0,text/event-stream", "text/event-stream;a=\u{300};q=0.01", "text/event-stream;q=",
            String(repeating: "é,", count: 500) + "text/event-stream",
        ] {
            #expect(try route("GET /events HTTP/1.1", "Host: a", "Accept: \(accept)") == "stream", "\(accept)")
        }
        #expect(try route("GET /events HTTP/1.1", "Host: a", accepts, "ce-type: sidesocket.open") == "403 forged_event")
    }

    @Test("Accept is read in one pass, whatever stands in it")
    func acceptCost() throws {
        let marks = String(repeating: "\u{316}\u{301}", count: 3_500)
        let began = ContinuousClock.now
        for _ in 0..<20 {
            let accept = "Accept: text/event-stream\(marks),text/event-stream;a=\(marks);q=0"
            #expect(try route("GET /events HTTP/1.1", "Host: a", accept) == "pass /events")
        }
        // Text that is split at its characters takes the square of their marks: minutes.
        #expect(ContinuousClock.now - began < .seconds(5))
    }

    @Test("Another upgrade is passed on without it, as the connection's last request")
    func otherUpgrade() throws {
        #expect(try route("GET / HTTP/1.1", "Host: a", "Upgrade: h2c", "Connection: upgrade") == "pass / close")
        #expect(try route("GET / HTTP/1.1", "Host: a", "Upgrade: websocketx") == "pass / close")
        #expect(try route("GET / HTTP/1.1", "Host: a", "Connection: upgrade") == "pass /")
    }

    @Test(
        "The app gets the target's bytes as the client wrote them (abuse cases 28 and 30)",
        arguments: [
            "/", "/a%2f..%2fadmin", "//", "//evil.example/..", "/\\..\\x", "/|{}", "/%", "/?", "/a?b?c=%00", "/metrics",
            "/v1/connections", "/healthz",
        ]
    )
    func rawTarget(target: String) throws {
        #expect(try route("GET \(target) HTTP/1.1", "Host: a") == "pass \(target)")
    }

    @Test("An absolute target is passed on as path and query when it names the Host, else refused")
    func absoluteTarget() throws {
        #expect(try route("GET http://a.example/x?y HTTP/1.1", "Host: a.example") == "pass /x?y")
        #expect(try route("GET HTTPS://A.example:8443/ HTTP/1.1", "Host: a.EXAMPLE:8443") == "pass /")
        #expect(try route("GET http://a HTTP/1.1", "Host: a") == "pass /")
        #expect(try route("GET http://a?x HTTP/1.1", "Host: a") == "pass /?x")
        #expect(try route("GET http://a//b HTTP/1.1", "Host: a") == "pass //b")
        for target in [
            "http://169.254.169.254/", "http://a.evil/", "http://a@evil/", "http://evil@a/", "http://a:80/",
            "http:///x", "ftp://a/", "http://?x",
        ] {
            // Some of them the reader refuses already.
            let answer = (try? route("GET \(target) HTTP/1.1", "Host: a")) ?? "400 bad_request"
            #expect(answer == "400 bad_request", "\(target)")
        }
        #expect(try route("GET http://a/ HTTP/1.0") == "400 bad_request")
    }

    @Test("The asterisk is for OPTIONS alone")
    func asterisk() throws {
        #expect(try route("OPTIONS * HTTP/1.1", "Host: a") == "pass *")
    }

    @Test(
        "A name that an app could take for a reserved one is refused (abuse cases 26 and 42)",
        arguments: [
            "Ce.Type", "Ce~Type", "Ce!Type", "Ce'Type", "ce.", "Ce.Userid", "Ce.Connectionid", "ce-type.x",
            "X.Forwarded.For", "Script_Name", "PATH_INFO",
            "X~Forwarded-Proto", "Sidesocket.User", "Webhook|Id", "Cf.Connecting.Ip", "True_Client^Ip",
            "Content_Length", "Content.Length", "Content`Type", "Content*Encoding", "Transfer_Encoding",
            "Transfer.Encoding", "Ce_Type", "ce_userid", "CE_", "Webhook_Signature", "sidesocket_user", "Sidesocket_",
            "X_Forwarded_For",
            "X-Forwarded_For", "x_forwarded-proto", "X_Real-IP", "X-Real_Ip", "x_real_ip",
            "Sidesocket_" + String(repeating: "a", count: 100),
        ]
    )
    func imitations(name: String) throws {
        #expect(try route("GET / HTTP/1.1", "Host: a", "\(name): x") == "400 reserved_header")
        #expect(try route("GET / HTTP/1.1", "Host: a", "\(name): x", "Upgrade: websocket") == "400 reserved_header")
    }

    @Test(
        "Names that only look a little like ours pass",
        arguments: [
            "X_Request_Id", "_", "__", "cetype_", "Ce-Type", "X-Forwarded-For", "XForwarded_For", "x_real_ipv6",
            "X-Custom.Name", "a.ce.type", "Contents_Length", "Content_Lengths", "Host_", "Content-MD.5",
            "a_ce-type", "Webhook-Signature", "Sidesocket-User", "Forwarded", "web_hook-id",
        ]
    )
    func innocentNames(name: String) throws {
        #expect(try route("GET / HTTP/1.1", "Host: a", "\(name): x") == "pass /")
    }

    @Test(
        "An event that claims to be ours is refused, however its type is written (abuse case 26)",
        arguments: [
            "sidesocket.message", "SideSocket.OPEN", "sidesocket.", "\"sidesocket.message\"", "%73idesocket.message",
            "%53IDESOCKET%2Emessage", "\"%73idesocket.open\"", "\"\\sidesocket.open\"", "\"%7\\3idesocket.open\"",
            "%22sidesocket.open%22", "%20sidesocket.open", " \" sidesocket.open\"", "%5Csidesocket.open",
            "sidesocket%2eclose",
        ]
    )
    func forgedEvents(type: String) throws {
        #expect(try route("POST / HTTP/1.1", "Host: a", "ce-type: \(type)") == "403 forged_event")
        #expect(
            try route("POST / HTTP/1.1", "Host: a", "ce-type: com.example", "CE-Type: \(type)", "ce-type: x")
                == "403 forged_event"
        )
    }

    @Test(
        "Other people's events and signatures pass (abuse case 26)",
        arguments: [
            "com.example.sidesocket.message", "sidesocket", "sidesockets.message", "", "%2573idesocket.x",
            "side%73ocket%2",
        ]
    )
    func foreignEvents(type: String) throws {
        #expect(
            try route(
                "POST /hooks HTTP/1.1",
                "Host: a",
                "ce-type: \(type)",
                "ce-id: 1",
                "webhook-signature: v1,abc",
                "Content-Length: 0"
            ) == "pass /hooks"
        )
    }

    @Test(
        "The path of a WEBHOOK_URL on the app is hidden in every spelling that an app may read as it",
        arguments: [
            "/hooks/ws", "/hooks/ws?x=1", "/hooks/ws/", "//hooks//ws", "/hooks/./ws", "/hooks/x/../ws", "/../hooks/ws",
            "/%68ooks/ws", "/hooks%2fws", "/hooks%2Fws", "/hooks\\ws", "/\\hooks\\ws", "/x/%2e%2e/hooks/ws",
            "/HOOKS/WS", "/Hooks/Ws/", "/hooks/ws;x=1", "/hooks;a/ws;", "/;/hooks/ws", "/hooks/ws/..;/hooks/ws",
            "/index.php/hooks/ws", "/hooks/ws%20", "/hooks/ws%00", "/hooks/ws%0a", "/hooks/%20ws", "/%2568ooks/ws",
            "/%252568ooks/ws", "/hooks/ws.", "/hooks/ws.%20.", "/hooks/ws.json", "/hooks./ws", "/hooks/ws/%2e",
            "/hoo%E2%84%AAs/w%C5%BF", "/hooks/w%2573", "/hooks/ws%3Fx", "/hooks/ws%23", "/hooks/ws%253bx",
            "/hooks/ws/;x", "/a/hooks/ws",
            "/%" + String(repeating: "25", count: 40) + "68ooks/ws",
            "/hooks/ws/.", "/hooks/ws/x/..", "/hooks/w%73", "/hooks/%77%73", "http://a/hooks/ws", "http://a/hooks/ws?y",
        ]
    )
    func hiddenPath(target: String) throws {
        for path in ["/hooks/ws", "/hooks/ws?token=1", "//hooks/%77s/"] {
            #expect(
                try route("POST \(target) HTTP/1.1", "Host: a", "Content-Length: 0", webhookPath: path)
                    == "404 webhook_path"
            )
        }
    }

    @Test(
        "Other paths beside a WEBHOOK_URL pass",
        arguments: [
            "/", "/hooks", "/hooks/ws2", "/hooks/ws/2", "/?/hooks/ws", "/hooks/ws%", "/hooks/wss", "/hooks/xws", "/ws",
            "/hooks/x/ws", "/hooks/w.s", "/xhooks/ws", "/hooks/ws/..",
        ]
    )
    func otherPaths(target: String) throws {
        #expect(try route("GET \(target) HTTP/1.1", "Host: a", webhookPath: "/hooks/ws") == "pass \(target)")
    }

    @Test("An upgrade to the webhook's path is for the handshake to judge, and the event is ours")
    func upgradeAtWebhookPath() throws {
        #expect(
            try route("GET /hooks/ws HTTP/1.1", "Host: a", "Upgrade: websocket", webhookPath: "/hooks/ws") == "upgrade"
        )
    }

    @Test("WS_PATHS are compared with the raw path, without the query")
    func webSocketPaths() {
        let router = router(paths: ["/ws", "/live/*"])
        for target in ["/ws", "/ws?x", "/ws?", "/live/", "/live/a/b?c=/d"] {
            #expect(router.servesWebSocket(target: target), "\(target)")
        }
        for target in ["/", "/ws/", "/wsx", "/live", "/livex", "/WS", "/%77s", "/a/../ws", "/x?/ws", "", "*"] {
            #expect(!router.servesWebSocket(target: target), "\(target)")
        }
        #expect(!self.router(paths: []).servesWebSocket(target: "/ws"))
    }

    @Test("Behind the name of a script more may follow, as PATH_INFO has it")
    func scriptPath() throws {
        for target in [
            "/hook.php", "/hook.php/", "/hook.php/x/y", "/HOOK.PHP/x", "/a/hook.php/b", "/hook.php.bak", "/hook",
            "/hook/x",
        ] {
            #expect(try route("GET \(target) HTTP/1.1", "Host: a", webhookPath: "/hook.php") == "404 webhook_path")
        }
        for target in ["/hooks", "/hook.phpx", "/xhook.php", "/hook.phtml/x", "/hoo"] {
            #expect(try route("GET \(target) HTTP/1.1", "Host: a", webhookPath: "/hook.php") == "pass \(target)")
        }
    }

    @Test("With the index of a folder, the folder is hidden too")
    func indexPath() throws {
        for target in ["/hook/index.php", "/hook", "/hook/", "/hook/x", "/hook/INDEX.php/x", "/hook/index"] {
            #expect(
                try route("GET \(target) HTTP/1.1", "Host: a", webhookPath: "/hook/index.php") == "404 webhook_path"
            )
        }
        #expect(try route("GET /hooks HTTP/1.1", "Host: a", webhookPath: "/hook/index.php") == "pass /hooks")
        #expect(try route("GET /x HTTP/1.1", "Host: a", webhookPath: "/index.php") == "pass /x")
    }

    @Test("With a folder, the index in it is hidden too")
    func folderPath() throws {
        for target in ["/hook/index.php", "/hook/Default.aspx", "/hook/index.php/", "/a/HOOK//index.html"] {
            #expect(try route("GET \(target) HTTP/1.1", "Host: a", webhookPath: "/hook") == "404 webhook_path")
        }
        #expect(try route("GET /index.html HTTP/1.1", "Host: a", webhookPath: "/") == "pass /index.html")
        for target in ["/hook/list.php", "/hook/indexed", "/index.php"] {
            #expect(try route("GET \(target) HTTP/1.1", "Host: a", webhookPath: "/hook") == "pass \(target)")
        }
    }

    @Test("A WEBHOOK_URL at the root hides the root and nothing else")
    func rootPath() throws {
        for target in ["/", "//", "/.", "/%2f", "/;x", "/?q"] {
            #expect(try route("GET \(target) HTTP/1.1", "Host: a", webhookPath: "/") == "404 webhook_path")
        }
        #expect(try route("GET /x HTTP/1.1", "Host: a", webhookPath: "/") == "pass /x")
    }

    @Test("Up to 256 segments are folded; a longer path, or one with too many escapes, may pass for any")
    func longPath() {
        let end = FoldedPath(target: "/end")
        #expect(FoldedPath(target: String(repeating: "/a/../.", count: 85) + "/end") == end)
        #expect(FoldedPath(target: String(repeating: "/..", count: 256)) == FoldedPath(target: "/"))
        #expect(!FoldedPath(target: String(repeating: "/a", count: 256)).mayPass(for: end))
        for long in ["/a", "/", "/.."] {
            #expect(FoldedPath(target: String(repeating: long, count: 257)).mayPass(for: end))
        }
        let nested = FoldedPath(target: "/%" + String(repeating: "25", count: 10_000) + "41")
        #expect(nested.mayPass(for: FoldedPath(target: "/end")))
    }
}
