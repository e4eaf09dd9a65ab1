import HTTP1
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("Authenticator")
struct AuthenticatorTests {
    @Test("A required token may come as a message only where clients send messages", arguments: TransportKind.allCases)
    func tokenAsMessage(kind: TransportKind) async throws {
        var settings = Samples.settings()
        settings.auth = .required
        settings.jwtSources = [.message]
        let made = try await Authenticator.make(settings)
        let authenticator = try #require(made)
        let head = try Samples.head("GET /ws HTTP/1.1", "Host: a")
        let expected =
            switch kind {
            case .webSocket: "waits"
            case .eventStream, .poll, .stream: "401"
            }
        #expect(outcome(authenticator, head, kind) == expected)
    }

    private func outcome(_ authenticator: Authenticator, _ head: HTTPRequestHead, _ kind: TransportKind) -> String {
        do throws(HandshakeRejection) {
            return switch try authenticator.identify(head, transportKind: kind) {
            case .anonymous: "anonymous"
            case .known: "known"
            case .awaitsMessage: "waits"
            }
        } catch {
            return "\(error.refusal.status)"
        }
    }
}
