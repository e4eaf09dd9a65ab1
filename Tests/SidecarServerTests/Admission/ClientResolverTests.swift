import HTTP1
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("Client resolver")
struct ClientResolverTests {
    private func resolver(_ log: RecordedLog, trusted: TrustedProxies = .none) -> ClientResolver {
        ClientResolver(trusted: trusted, header: .xForwardedFor, ipv6Prefix: 64, logger: log.logger)
    }

    private func resolve(_ resolver: ClientResolver, _ peer: String, isNamedByProxy: Bool = false) throws -> String {
        let head = try Samples.head("GET / HTTP/1.1", "Host: a", "X-Forwarded-For: 198.51.100.1")
        let client = resolver.resolve(
            peer: try Samples.address(peer),
            isUnixSocket: false,
            isNamedByProxy: isNamedByProxy,
            scheme: .http,
            headers: head.headers
        )
        return client.address
    }

    @Test("A trusted proxy names the client, without a warning")
    func trusted() throws {
        let log = RecordedLog()
        let resolver = resolver(log, trusted: try TrustedProxies(parsing: ["192.0.2.0/24"]))
        #expect(try resolve(resolver, "192.0.2.1") == "198.51.100.1")
        #expect(log.messages.isEmpty)
    }

    @Test("A peer that nobody trusts is the client, and each network is warned of once")
    func untrusted() throws {
        let log = RecordedLog()
        let resolver = resolver(log)
        for _ in 0..<3 { #expect(try resolve(resolver, "192.0.2.1") == "192.0.2.1") }
        #expect(log.messages.count == 1)
        #expect(try resolve(resolver, "192.0.2.2") == "192.0.2.2")
        #expect(log.messages.count == 2)
        for host in 1...3 { _ = try resolve(resolver, "2001:db8::\(host)") }
        #expect(log.messages.count == 3)
    }

    @Test("A flood of networks is warned of 256 times")
    func flood() throws {
        let log = RecordedLog()
        let resolver = resolver(log)
        for number in 0..<300 { _ = try resolve(resolver, "10.0.\(number / 256).\(number % 256)") }
        #expect(log.messages.count == 256)
    }

    @Test("Whom a PROXY header names is no proxy that somebody forgot to trust")
    func named() throws {
        let log = RecordedLog()
        #expect(try resolve(resolver(log), "192.0.2.1", isNamedByProxy: true) == "192.0.2.1")
        #expect(log.messages.isEmpty)
    }
}
