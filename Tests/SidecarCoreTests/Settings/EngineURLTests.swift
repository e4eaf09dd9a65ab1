import Testing

@testable import SidecarCore

@Suite("URLs of Redis")
struct EngineURLTests {
    private let syntax = ValueSyntax<EngineURL>.engineURL

    private func problem(_ text: String) -> String? {
        do throws(ValueProblem) {
            _ = try syntax.read(text)
            return nil
        } catch {
            return error.message
        }
    }

    private static let goodURLs: [(text: String, url: EngineURL)] = [
        ("redis://cache", EngineURL(hosts: [.init(host: "cache", port: 6379)])),
        ("REDIS://Cache.Example:7000/", EngineURL(hosts: [.init(host: "cache.example", port: 7000)])),
        ("redis://[FE80::1]", EngineURL(hosts: [.init(host: "fe80::1", port: 6379)])),
        ("redis://[::1]:7000/3", EngineURL(hosts: [.init(host: "::1", port: 7000)], database: 3)),
        ("rediss://10.0.0.1", EngineURL(hosts: [.init(host: "10.0.0.1", port: 6379)], isEncrypted: true)),
        (
            "redis+sentinel://h1,h2:7/mymaster",
            EngineURL(
                topology: .sentinel(service: "mymaster"),
                hosts: [.init(host: "h1", port: 26379), .init(host: "h2", port: 7)]
            )
        ),
        (
            "rediss+sentinel://h1,h2/my%3Amaster/2/",
            EngineURL(
                topology: .sentinel(service: "my:master"),
                hosts: [.init(host: "h1", port: 26379), .init(host: "h2", port: 26379)],
                database: 2,
                isEncrypted: true
            )
        ),
        (
            "redis+cluster://h1:7000,[::1]",
            EngineURL(topology: .cluster, hosts: [.init(host: "h1", port: 7000), .init(host: "::1", port: 6379)])
        ),
        (
            "rediss+cluster://h1/",
            EngineURL(topology: .cluster, hosts: [.init(host: "h1", port: 6379)], isEncrypted: true)
        ),
    ]

    @Test("A URL says where the servers are and how they work together", arguments: goodURLs)
    func servers(text: String, url: EngineURL) throws {
        #expect(try syntax.read(text) == url)
        #expect(try syntax.read(syntax.show(url)) == url)
        #expect(EngineURL(text) == url)
    }

    @Test("User and password are percent-decoded, and the user may be left out")
    func credentials() throws {
        let url = try syntax.read("redis://us%3Aer:p%40ss%2Fw:r%25d%3F%23,%C3%BC+@h")
        #expect(url.user == "us:er" && url.password == "p@ss/w:r%d?#,ü+")
        #expect(try syntax.read(syntax.show(url)) == url)
        let alone = try syntax.read("redis://:secret@h")
        #expect(alone.user == nil && alone.password == "secret")
        #expect(try syntax.read(syntax.show(alone)) == alone)
        let many = try syntax.read("redis+cluster://u:a,b@h1,h2")
        #expect(many.password == "a,b" && many.hosts.count == 2)
        #expect(try syntax.read("redis://h").password == nil)
    }

    @Test("With TLS a URL may name files")
    func files() throws {
        let url = try syntax.read("rediss://u:p@h/1?ca=/etc/my%20ca.pem&key=k.pem&cert=/c%26%3F.pem")
        #expect(url.caFile == "/etc/my ca.pem" && url.certificateFile == "/c&?.pem" && url.keyFile == "k.pem")
        #expect(try syntax.read(syntax.show(url)) == url)
        let authorities = try syntax.read("rediss+cluster://h?ca=ca.pem")
        #expect(authorities.caFile == "ca.pem" && authorities.certificateFile == nil)
        #expect(try syntax.read(syntax.show(authorities)) == authorities)
    }

    @Test(
        "What is no URL of Redis is refused with a reason",
        arguments: [
            ("", "no redis://"), ("h:6379", "no redis://"), ("redis:h", "no redis://"), ("://h", "scheme"),
            ("http://h", "scheme"), ("redis+unix://h", "scheme"), ("kafka://h", "scheme"),
            ("nats://h:4222", "NATS is not supported by this version"),
            ("tls://h", "NATS is not supported by this version"),
            ("NATS://a,b", "NATS is not supported by this version"),
            ("redis://", "no host"), ("redis://:p@", "no host"), ("redis://h:", "no port from 1 to 65535"),
            ("redis://h:x", "no port from 1 to 65535"), ("redis://h:-1", "no port from 1 to 65535"),
            ("redis://::1", "in brackets"), ("redis://[::1", "no ]"), ("redis://[::g]", "no valid IPv6"),
            ("redis://[::1]x", "no port"), ("redis://-h", "no valid host"), ("redis://1.2.3", "no valid host"),
            ("redis://h1,h2", "several hosts"), ("redis+cluster://h1,", "no host"), ("redis+cluster://h,H", "twice"),
            ("redis+cluster://h,h:6379", "twice"), ("redis://a b", "a space"), ("redis://h/1\n", "a space"),
            ("redis://ü", "a space or another"), ("redis://h/0#x", "a #"),
            ("redis://p@h", "no colon"), ("redis://u:@h", "empty password"), ("redis://@h", "no colon"),
            ("redis://u:p@ss@h", "more than one @"), ("redis://u:p/ss@h", "@ after"), ("redis://u:p?ss@h", "@ after"),
            ("redis://:%@h", "%"), ("redis://:%2@h", "%"), ("redis://:%zz@h", "%"), ("redis://:%ff@h", "UTF-8"),
            ("redis://h/x", "a database"), ("redis://h/-1", "a database"), ("redis://h/1/2", "path"),
            ("redis://h//1", "path"), ("redis://h/99999999999999999999", "a database"),
            ("redis+sentinel://h", "no name"), ("redis+sentinel://h/", "no name"),
            ("redis+sentinel://h//1", "a service"), ("redis+sentinel://h/a%20b", "a service"),
            ("redis+sentinel://h/m/x", "a database"), ("redis+sentinel://h/m/1/2", "path"),
            ("redis+cluster://h/0", "a path"),
            ("redis://h?", "unknown parameter"), ("rediss://h?ca", "unknown parameter"),
            ("rediss://h?CA=x", "unknown parameter"), ("rediss://h?stream=x", "unknown parameter"),
            ("rediss://h?password=x", "unknown parameter"), ("rediss://h?ca=x&", "unknown parameter"),
            ("rediss://h?ca=", "empty parameter ca"), ("rediss://h?ca=a&ca=a", "ca twice"),
            ("redis://h?ca=x", "rediss"), ("redis+cluster://h?cert=x&key=y", "rediss"),
            ("rediss://h?cert=x", "cert and key"), ("rediss://h?key=x", "cert and key"),
            ("rediss://h?ca=%00", "not the path of a file"),
        ]
    )
    func refused(text: String, reason: String) throws {
        let message = try #require(problem(text))
        #expect(message.contains(reason))
        #expect(EngineURL(text) == nil)
    }

    @Test("Ports, databases, hosts and lengths are tried at their least and most")
    func ranges() throws {
        #expect(problem("redis://h:0") != nil && problem("redis://h:65536") != nil)
        #expect(try syntax.read("redis://h:1").hosts.first?.port == 1)
        #expect(try syntax.read("redis://h:65535").hosts.first?.port == 65535)

        #expect(try syntax.read("redis://h/0").database == 0)
        #expect(try syntax.read("redis://h/2147483647").database == 2_147_483_647)
        #expect(problem("redis://h/2147483648")?.contains("from 0 to 2147483647") == true)

        let hosts = (1...65).map { "h\($0)" }
        #expect(try syntax.read("redis+cluster://" + hosts.dropLast().joined(separator: ",")).hosts.count == 64)
        #expect(problem("redis+cluster://" + hosts.joined(separator: ","))?.contains("64 hosts") == true)

        let service = String(repeating: "s", count: 200)
        #expect(try syntax.read("redis+sentinel://h/\(service)").topology == .sentinel(service: service))
        #expect(problem("redis+sentinel://h/\(service)s") != nil)

        let longest = "redis://:" + String(repeating: "p", count: EngineURLSyntax.longest - 11) + "@h"
        #expect(longest.utf8.count == EngineURLSyntax.longest && problem(longest) == nil)
        #expect(problem(longest + "h")?.contains("longer than") == true)
    }

    @Test(
        "A URL describes itself by scheme, hosts and path only",
        arguments: [
            ("redis://hunter2:hunter2@h/2", "redis://h:6379/2"),
            ("rediss://:hunter2@[::1]?ca=hunter2&cert=hunter2&key=hunter2", "rediss://[::1]:6379"),
            ("redis+sentinel://:hunter2@h1,h2:1/m/0", "redis+sentinel://h1:26379,h2:1/m"),
            ("rediss+cluster://:hunter2@h1,h2", "rediss+cluster://h1:6379,h2:6379"),
        ]
    )
    func described(text: String, shown: String) throws {
        let url = try syntax.read(text)
        #expect(url.description == shown && String(reflecting: url) == shown)
        #expect(syntax.redacted?(url) == shown)
    }

    @Test(
        "No problem quotes what was written",
        arguments: ["hunter2", "h%75nter2", "hunter2:hunter2", "hunter2/hunter2"]
    )
    func silent(secret: String) {
        for text in [
            secret, "\(secret)://h", "redis://\(secret)", "redis://\(secret)@h", "redis://:\(secret)@\(secret)@h",
            "redis://:\(secret)@h/\(secret)", "rediss://h?\(secret)", "rediss://h?\(secret)=x", "redis://h:\(secret)",
            "redis+cluster://\(secret),\(secret)", "redis+sentinel://h/\(secret)/\(secret)", "redis://h#\(secret)",
        ] {
            guard let message = problem(text) else { continue }
            #expect(!message.contains("hunter") && !message.contains("h%75nter"), "\(message)")
        }
    }

    @Test(
        "Hosts on this machine are known",
        arguments: [
            ("localhost", true), ("127.0.0.1", true), ("127.9.9.9", true), ("::1", true), ("0:0:0:0:0:0:0:1", true),
            ("127.example", false), ("10.0.0.1", false), ("::2", false), ("localhost.example", false),
        ]
    )
    func loopback(host: String, isLoopback: Bool) {
        #expect(EngineURL.Host(host: host, port: 1).isLoopback == isLoopback)
    }
}
