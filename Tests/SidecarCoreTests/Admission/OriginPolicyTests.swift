import Testing

@testable import SidecarCore

@Suite("Origin policy")
struct OriginPolicyTests {
    private func decide(
        _ list: [String],
        _ origins: [String],
        fetchSite: [String] = [],
        host: String = "example.com",
        scheme: ClientScheme = .http,
        allowMissing: Bool = true
    ) throws -> OriginDecision {
        try OriginPolicy(parsing: list).decide(
            origin: origins,
            fetchSite: fetchSite,
            host: host,
            scheme: scheme,
            allowMissing: allowMissing
        )
    }

    @Test("A listed page may read what it gets and send cookies, any other one only read it")
    func grants() throws {
        func grant(_ list: [String], _ origin: String?) throws -> CrossOriginGrant {
            try OriginPolicy(parsing: list).grant(origin: origin.map { [$0] } ?? [], host: "example.com")
        }
        let page = "https://a.example"
        #expect(try grant([page], page) == .credentialed(page))
        #expect(try grant(["*", page], page) == .credentialed(page))
        #expect(try grant(["https://*.example"], page) == .credentialed(page))
        #expect(try grant(["same-host"], "https://example.com") == .credentialed("https://example.com"))
        #expect(try grant(["*"], page) == .anonymous)
        #expect(try grant(["null"], "null") == .credentialed("null"))
        #expect(try grant(["*"], nil) == .notAsked)
        // With DRY_RUN even a page that is not listed is let in.
        #expect(try grant(["same-host"], page) == .refused)
        #expect(try grant(["same-host"], "null") == .refused)
    }

    @Test("The fields of a response never grant cookies to any page")
    func grantFields() {
        func fields(_ grant: CrossOriginGrant) -> [String: String] {
            var fields: [String: String] = [:]
            grant.forEachField { fields[$0] = $1 }
            return fields
        }
        let exposed = ["Access-Control-Expose-Headers": "Retry-After", "Vary": "Origin"]
        #expect(fields(.notAsked) == ["Vary": "Origin"] && fields(.refused) == ["Vary": "Origin"])
        #expect(fields(.anonymous) == exposed.merging(["Access-Control-Allow-Origin": "*"]) { $1 })
        let listed = ["Access-Control-Allow-Origin": "https://a", "Access-Control-Allow-Credentials": "true"]
        #expect(fields(.credentialed("https://a")) == exposed.merging(listed) { $1 })
    }

    @Test(
        "Without an Origin, Sec-Fetch-Site tells whether a page of another origin asks",
        arguments: [
            ([], false), (["none"], false), (["same-origin"], false), ([""], false), (["bogus"], false),
            (["cross-sites"], false), (["same-site"], true), (["cross-site"], true), (["Cross-Site"], true),
            (["SAME-SITE"], true), (["same-origin", "cross-site"], true), (["cross-site", "none"], true),
            (["same-origin, cross-site"], true), ([" cross-site\t"], true), (["cross-site;a=b"], true),
            ([#""cross-site""#], true),
        ] as [([String], Bool)]
    )
    func fetchSite(values: [String], isForeign: Bool) throws {
        let refusal: OriginDecision = isForeign ? .refused(.crossSite) : .allowed
        #expect(try decide(["same-host"], [], fetchSite: values) == refusal)
        #expect(try decide(["https://a.example", "null"], [], fetchSite: values) == refusal)
        #expect(try decide(["*"], [], fetchSite: values) == .allowed)
        // An Origin says more.
        #expect(try decide(["https://a.example"], ["https://a.example"], fetchSite: values) == .allowed)
        #expect(try decide(["https://a.example"], ["https://b.example"], fetchSite: values) == .refused(.notListed))
        #expect(try decide(["*"], [], fetchSite: values, allowMissing: false) == .refused(.missing))
    }

    @Test(
        "What pretends to be a listed origin is refused, what is the same in other letters is not (abuse case 11)",
        arguments: [
            ("https://example.com", .allowed),
            ("HTTPS://EXAMPLE.COM:443", .allowed),
            ("https://example.com:443", .allowed),
            ("https://Example.com", .allowed),
            ("https://evil-example.com", .refused(.notListed)),
            ("https://evilexample.com", .refused(.notListed)),
            ("https://example.com.evil.com", .refused(.notListed)),
            ("https://sub.example.com", .refused(.notListed)),
            ("https://example.co", .refused(.notListed)),
            ("http://example.com", .refused(.notListed)),
            ("wss://example.com", .refused(.notListed)),
            ("https://example.com:8443", .refused(.notListed)),
            ("https://example.com:80", .refused(.notListed)),
            ("http://example.com:443", .refused(.notListed)),
            ("null", .refused(.null)),
            ("NULL", .refused(.null)),
            ("https://example.com@evil", .refused(.malformed)),
            ("https://evil@example.com", .refused(.malformed)),
            ("https://example.com:443@evil.com", .refused(.malformed)),
            ("https://example.com.", .refused(.malformed)),
            ("https://example.com.:443", .refused(.malformed)),
            ("https://example.com/", .refused(.malformed)),
            ("https://example.com/path", .refused(.malformed)),
            ("https://example.com?x", .refused(.malformed)),
            ("https://example.com#x", .refused(.malformed)),
            (#"https://example.com\@evil.com"#, .refused(.malformed)),
            ("https://example.com%2eevil.com", .refused(.malformed)),
            ("https://example.com:", .refused(.malformed)),
            ("https://example.com:0", .refused(.malformed)),
            ("https://example.com:0443", .refused(.malformed)),
            ("https://example.com:+443", .refused(.malformed)),
            ("https://example.com:65536", .refused(.malformed)),
            ("https://example.com:443:443", .refused(.malformed)),
            ("https://.example.com", .refused(.malformed)),
            ("https://example..com", .refused(.malformed)),
            ("https://", .refused(.malformed)),
            ("https:/example.com", .refused(.malformed)),
            ("https:example.com", .refused(.malformed)),
            ("//example.com", .refused(.malformed)),
            ("://example.com", .refused(.malformed)),
            ("1https://example.com", .refused(.malformed)),
            ("example.com", .refused(.malformed)),
            ("", .refused(.malformed)),
            ("*", .refused(.malformed)),
            ("https://*", .refused(.malformed)),
            ("https://exämple.com", .refused(.malformed)),
            ("https://example.com\u{0}", .refused(.malformed)),
            ("https://example.com\u{301}", .refused(.malformed)),
            ("https://\u{FFFD}", .refused(.malformed)),
            ("https://example.com https://evil.com", .refused(.repeated)),
            ("https://example.com, https://evil.com", .refused(.repeated)),
            ("https://example.com,https://example.com", .refused(.repeated)),
            ("null null", .refused(.repeated)),
        ] as [(String, OriginDecision)]
    )
    func exact(origin: String, expected: OriginDecision) throws {
        #expect(try decide(["https://example.com"], [origin], host: "example.com") == expected)
    }

    @Test("Two Origin fields are refused even when both are allowed, whatever the list")
    func doubled() throws {
        for list in [["https://example.com"], ["*"], ["same-host"], ["null", "*"]] {
            for pair in [["https://example.com", "https://example.com"], ["null", "https://example.com"], ["", ""]] {
                #expect(try decide(list, pair) == .refused(.repeated), "\(list) \(pair)")
            }
            #expect(try decide(list, ["https://example.com,https://example.com"]) == .refused(.repeated))
        }
    }

    @Test("A request without Origin passes only where that is allowed")
    func missing() throws {
        for list in [["same-host"], ["*"], ["https://a.b"]] {
            #expect(try decide(list, [], allowMissing: true) == .allowed)
            #expect(try decide(list, [], allowMissing: false) == .refused(.missing))
        }
    }

    @Test(
        "Same host compares host and port, with and without the scheme's own port",
        arguments: [
            ("http://example.com", "example.com", .http, .allowed),
            ("http://example.com", "EXAMPLE.com:80", .http, .allowed),
            ("http://example.com:80", "example.com", .http, .allowed),
            ("https://example.com", "example.com", .https, .allowed),
            ("https://example.com:443", "example.com:443", .https, .allowed),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", .http, .allowed),
            ("http://localhost:3000", "localhost:3000", .http, .allowed),
            // Behind a load balancer that ends TLS and is not listed as trusted.
            ("https://example.com", "example.com", .http, .allowed),
            ("https://example.com", "example.com:443", .http, .allowed),
            ("https://example.com:8443", "example.com:8443", .http, .allowed),
            // Other ports.
            ("http://example.com:8080", "example.com", .http, .refused(.notListed)),
            ("http://example.com", "example.com:8080", .http, .refused(.notListed)),
            ("http://example.com:8080", "example.com:8081", .http, .refused(.notListed)),
            ("https://example.com", "example.com:80", .http, .refused(.notListed)),
            ("http://example.com", "example.com:443", .http, .refused(.notListed)),
            ("http://example.com:443", "example.com", .https, .refused(.notListed)),
            ("https://example.com:80", "example.com", .http, .refused(.notListed)),
            // Other hosts (abuse case 12).
            ("https://evil.com", "example.com", .https, .refused(.notListed)),
            ("https://sub.example.com", "example.com", .https, .refused(.notListed)),
            ("https://example.com", "sub.example.com", .https, .refused(.notListed)),
            ("https://evil-example.com", "example.com", .https, .refused(.notListed)),
            ("https://example.com.evil.com", "example.com", .https, .refused(.notListed)),
            ("https://example.com@evil", "evil", .https, .refused(.malformed)),
            ("https://example.com.", "example.com.", .https, .refused(.malformed)),
            ("https://example.com", "example.com.", .https, .refused(.notListed)),
            ("https://example.com", "", .https, .refused(.notListed)),
            ("https://example.com", "a, example.com", .https, .refused(.notListed)),
            // A plain page cannot speak for the host over TLS.
            ("http://example.com", "example.com", .https, .refused(.downgrade)),
            ("http://example.com:8080", "example.com:8080", .https, .refused(.downgrade)),
            // Pages of apps are no pages of a host.
            ("capacitor://example.com", "example.com", .https, .refused(.notListed)),
            ("ws://example.com", "example.com", .http, .refused(.notListed)),
            ("null", "null", .http, .refused(.null)),
            ("file://", "", .http, .refused(.notListed)),
            // IPv6.
            ("http://[::1]:8080", "[::1]:8080", .http, .allowed),
            ("https://[2001:DB8:0:0::1]", "[2001:db8::1]", .https, .allowed),
            ("https://[2001:db8::1]", "[2001:db8::2]", .https, .refused(.notListed)),
            ("http://[::ffff:1.2.3.4]", "1.2.3.4", .http, .refused(.notListed)),
            ("http://[::ffff:1.2.3.4]", "[::ffff:102:304]", .http, .allowed),
            ("http://[::1", "[::1", .http, .refused(.malformed)),
            ("http://[::1]8080", "[::1]:8080", .http, .refused(.malformed)),
            ("http://[::1%25eth0]", "[::1]", .http, .refused(.malformed)),
            ("http://[1.2.3.4]", "1.2.3.4", .http, .refused(.malformed)),
        ] as [(String, String, ClientScheme, OriginDecision)]
    )
    func sameHost(origin: String, host: String, scheme: ClientScheme, expected: OriginDecision) throws {
        #expect(try decide(["same-host"], [origin], host: host, scheme: scheme) == expected)
        let own = OriginPolicy.sameHost.decide(
            origin: [origin],
            fetchSite: [],
            host: host,
            scheme: scheme,
            allowMissing: false
        )
        #expect(own == expected)
    }

    @Test(
        "A wildcard takes every name below its own, and nothing else",
        arguments: [
            ("https://*.example.com", "https://a.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "HTTPS://A.EXAMPLE.COM:443", true),
            ("HTTPS://*.Example.COM:443", "https://a.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://evil-example.com", false),
            ("https://*.example.com", "https://evilexample.com", false),
            ("https://*.example.com", "https://a.example.com.evil.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://a..example.com", false),
            ("https://*.example.com", "https://*.example.com", false),
            ("https://*.example.com", "http://a.example.com", false),
            ("https://*.example.com", "https://a.example.com:8443", false),
            ("https://*.example.com", "https://a@b.example.com", false),
            ("https://*.example.com:8443", "https://a.example.com:8443", true),
            ("https://*.example.com:8443", "https://a.example.com", false),
            ("http://*.localhost", "http://app.localhost", true),
        ]
    )
    func wildcards(pattern: String, origin: String, isAllowed: Bool) throws {
        #expect(try (decide([pattern], [origin], host: "x") == .allowed) == isAllowed)
    }

    @Test(
        "Any of several items may allow an origin, null only by its own name",
        arguments: [
            (["*"], "https://anything.example:1234", true), (["*"], "capacitor://localhost", true),
            (["*"], "null", false), (["*", "null"], "null", true), (["null"], "null", true),
            (["null"], "https://a.b", false), (["same-host", "https://a.b"], "https://a.b", true),
            (["same-host", "https://a.b"], "http://example.com", true),
            (["same-host", "https://a.b"], "https://c.d", false), (["SAME-HOST"], "http://example.com", true),
            (["chrome-extension://abcdef"], "chrome-extension://abcdef", true),
            (["chrome-extension://abcdef"], "chrome-extension://abcdeg", false),
            (["capacitor://localhost"], "capacitor://localhost", true),
            (["capacitor://localhost"], "ionic://localhost", false),
            (["capacitor://localhost"], "capacitor://localhost:80", false),
            (["file://"], "file://", true), (["file://"], "file:///etc", false),
            (["https://a.b/"], "https://a.b", true), (["https://[2001:DB8::0:1]"], "https://[2001:db8::1]", true),
            (["http://[::1]:80"], "http://[::1]", true), (["http://a_b.c"], "http://a_b.c", true),
        ]
    )
    func lists(list: [String], origin: String, isAllowed: Bool) throws {
        #expect(try (decide(list, [origin]) == .allowed) == isAllowed)
    }

    @Test("An overlong origin is refused without being looked at")
    func long() throws {
        let label = String(repeating: "a", count: 250)
        #expect(try decide(["*"], ["https://" + label + ".bc"]) == .allowed)
        #expect(try decide(["*"], ["https://" + label + ".bcd"]) == .refused(.malformed))
        #expect(try decide(["*"], ["https://" + String(repeating: "a.", count: 100_000) + "b"]) == .refused(.malformed))
        #expect(try decide(["*"], ["a" + String(repeating: "b", count: 600) + "://c"]) == .refused(.malformed))
    }

    @Test(
        "What is no origin in the setting is refused with the reason",
        arguments: [
            ([], "names no origin"), ([""], "has no scheme"), (["example.com"], "has no scheme"),
            (["*.example.com"], "has no scheme"), (["https:example.com"], "has no scheme"),
            (["*://example.com"], "has no valid scheme"), (["://example.com"], "has no valid scheme"),
            (["https://example.com/chat"], "has a path"), (["https://example.com//"], "has a path"),
            (["https://example.com?a"], "has a path"), (["https://example.com#a"], "has a path"),
            (["https://user@example.com"], "has a user part"), (["https://example.com."], "has a dot at the end"),
            (["https://example.com.:1"], "has a dot at the end"), (["https://exämple.com"], "xn--"),
            (["https://*"], "has a * elsewhere"), (["https://a.*.com"], "has a * elsewhere"),
            (["https://*example.com"], "has a * elsewhere"), (["https://example.com:*"], "has a * elsewhere"),
            (["https://*.*.com"], "behind its *."), (["https://*."], "has a dot at the end"),
            (["https://*.1.2.3.4"], "behind its *."), (["https://*.[::1]"], "behind its *."),
            (["chrome-extension://*.abc"], "behind its *."), (["https://"], "no valid host"),
            (["https://:443"], "no valid host"), (["https://a:0"], "no valid host"),
            (["https://a:70000"], "no valid host"),
            (["https://[::1"], "no valid host"), (["https://a b"], "no valid host"),
            (["https://a..b"], "no valid host"),
            (["same-host", "https://ok.example", "nonsense"], #"in "nonsense": has no scheme"#),
        ] as [([String], String)]
    )
    func faults(list: [String], words: String) {
        let fault = #expect(throws: AdmissionSyntaxFault.self) { try OriginPolicy(parsing: list) }
        #expect(fault?.problem.contains(words) == true, "\(fault?.problem ?? "")")
    }

    @Test("Every refusal has its own sentence")
    func sentences() {
        #expect(Set(OriginRefusal.allCases.map(\.sentence)).count == OriginRefusal.allCases.count)
    }
}
