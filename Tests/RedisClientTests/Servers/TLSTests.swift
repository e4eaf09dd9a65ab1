import NIOCore
import NIOSSL
import Testing

@testable import RedisClient

extension RealServers {
    @Suite("TLS", .enabled(if: RedisServer.isProgram("openssl"), "openssl is not installed"))
    struct TLSTests {
        /// Makes a certificate for the names and lets a server use it.
        private func server(names: String) throws -> (RedisServer, certificate: String) {
            let directory = TestDirectory.make()
            let status = try ServerProcess.run([
                "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
                "-addext", "subjectAltName=\(names)", "-keyout", "\(directory)/key.pem", "-out",
                "\(directory)/cert.pem",
            ])
            guard status == 0 else { throw ServerError("openssl failed") }
            let port = try FreePort.find()
            let server = try RedisServer(
                [
                    "--port", "0", "--tls-port", "\(port)", "--tls-cert-file", "\(directory)/cert.pem",
                    "--tls-key-file",
                    "\(directory)/key.pem", "--tls-ca-cert-file", "\(directory)/cert.pem", "--tls-auth-clients", "no",
                ],
                port: port
            )
            return (server, "\(directory)/cert.pem")
        }

        private func context(trusting certificate: String?) throws -> NIOSSLContext {
            var configuration = TLSConfiguration.makeClientConfiguration()
            if let certificate { configuration.trustRoots = .file(certificate) }
            return try NIOSSLContext(configuration: configuration)
        }

        @Test("Commands and messages go over TLS, by name and by address")
        func works() async throws {
            let (server, certificate) = try server(names: "DNS:localhost,IP:127.0.0.1")
            try await withServers(server) {
                for host in ["localhost", "127.0.0.1"] {
                    let address = RedisAddress(host: host, port: server.port)
                    var configuration = RedisConfiguration(topology: .standalone(address))
                    configuration.tls = try context(trusting: certificate)
                    try await ClientRig.run(configuration) { rig in
                        try await rig.on { $0.subscribe([RedisChannel(name: "c")]) }
                        try await rig.until("it is subscribed") { $0.subscribed.count == 1 }
                        let large = ByteBuffer(repeating: 0x61, count: 3_000_000)
                        _ = try await rig.call("SET", ["k", .bytes(large)], key: "k")
                        #expect(try await rig.call("GET", ["k"], key: "k").bytes == large)
                        _ = try await rig.call("PUBLISH", ["c", "m"])
                        try await rig.until("the message is there") { $0.messages == ["c:m"] }
                    }
                }
            }
        }

        @Test("A certificate for another name, of an unknown authority, or none is refused with a reason")
        func refused() async throws {
            let (server, certificate) = try server(names: "DNS:elsewhere.invalid")
            let plain = try RedisServer()
            try await withServers(server, plain) {
                let cases: [(RedisAddress, String?)] = [
                    (RedisAddress(host: "localhost", port: server.port), certificate),
                    (RedisAddress(host: "127.0.0.1", port: server.port), certificate),
                    (RedisAddress(host: "localhost", port: server.port), nil),
                    (plain.address, certificate),
                ]
                for (address, trusted) in cases {
                    var configuration = RedisConfiguration(topology: .standalone(address))
                    configuration.tls = try context(trusting: trusted)
                    try await ClientRig.run(configuration, waits: false) { rig in
                        try await rig.until("the log has a reason") { !$0.log.notable.isEmpty }
                        // A server without TLS waits for the end of a line that never comes, and says nothing.
                        let part = address == plain.address ? "is it a TLS port?" : "TLS with \(address) failed"
                        #expect(rig.log.notable[0].contains(part), "\(rig.log.notable)")
                    }
                }
                var configuration = RedisConfiguration(topology: .standalone(server.address))
                configuration.commandTimeout = .milliseconds(500)
                try await ClientRig.run(configuration, waits: false) { rig in
                    // Plain text to a TLS port: the server hangs up.
                    try await rig.until("the log has a reason") { !$0.log.notable.isEmpty }
                    #expect(rig.log.notable[0].contains("does it want TLS"), "\(rig.log.notable)")
                }
            }
        }
    }
}
