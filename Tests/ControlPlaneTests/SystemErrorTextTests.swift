import ListenerSupport
import NIOCore
import Testing

@Suite("Errors in words")
struct SystemErrorTextTests {
    @Test("An error of the system is what the system calls it, without the function that met it")
    func words() {
        let taken = IOError(errnoCode: 98, reason: "bind(descriptor:ptr:bytes:)")
        #expect(SystemErrorText.sentence(for: taken) == "address already in use")
        #expect(SystemErrorText.sentence(for: CancellationError()) == "it was stopped")
        #expect(SystemErrorText.sentence(for: ChannelError.connectTimeout(.seconds(1))) == "it took too long")
        do {
            _ = try SocketAddress.makeAddressResolvingHost("x.invalid", port: 1)
            Issue.record("RFC 6761 §6.4 keeps this name free")
        } catch {
            #expect(SystemErrorText.sentence(for: error) == "x.invalid has no address")
        }
    }

    @Test("An address is written as settings write it")
    func addresses() throws {
        #expect(try SocketAddress(ipAddress: "127.0.0.1", port: 8080).written == "127.0.0.1:8080")
        #expect(try SocketAddress(ipAddress: "::1", port: 8080).written == "[::1]:8080")
        #expect(try SocketAddress(unixDomainSocketPath: "/run/s").written == "unix:/run/s")
    }
}
