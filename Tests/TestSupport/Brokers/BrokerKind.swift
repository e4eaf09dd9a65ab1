package import SidecarCore
import Testing

/// A kind of broker that is tried.
package struct BrokerKind: Sendable, CustomTestStringConvertible {
    package let testDescription: String
    /// Whether it publishes once for all calls with the same id.
    package let remembersIDs: Bool
    /// A broker without channels, on a node that nobody else uses.
    package let make: @Sendable (_ settings: Settings, _ servesStreams: Bool) async throws -> BrokerUnderTest

    package init(
        _ testDescription: String,
        remembersIDs: Bool,
        make: @escaping @Sendable (_ settings: Settings, _ servesStreams: Bool) async throws -> BrokerUnderTest
    ) {
        self.testDescription = testDescription
        self.remembersIDs = remembersIDs
        self.make = make
    }
}

/// One thing that is expected of every broker; see `ChannelBroker`.
///
/// ```swift
/// @Test("A broker of this kind", arguments: BrokerCheck.all(of: .mine))
/// func conforms(check: BrokerCheck) async throws { try await check.run(on: .mine) }
/// ```
package struct BrokerCheck: Sendable, CustomTestStringConvertible {
    package let testDescription: String
    private let needsIDs: Bool
    private let body: @Sendable (BrokerTrial) async throws -> Void

    init(_ sentence: String, needsIDs: Bool = false, _ body: @escaping @Sendable (BrokerTrial) async throws -> Void) {
        testDescription = sentence
        self.needsIDs = needsIDs
        self.body = body
    }

    /// All that is expected of a kind.
    package static func all(of kind: BrokerKind) -> [BrokerCheck] {
        (BrokerTrial.live + BrokerTrial.history + BrokerTrial.replay).filter { kind.remembersIDs || !$0.needsIDs }
    }

    package func run(on kind: BrokerKind) async throws { try await body(BrokerTrial(kind)) }
}

/// What the checks share.
struct BrokerTrial: Sendable {
    let room: ChannelName
    let other: ChannelName
    private let kind: BrokerKind

    init(_ kind: BrokerKind) throws {
        self.kind = kind
        room = try #require(ChannelName("room"))
        other = try #require(ChannelName("room:other"))
    }

    func make(size: Int = 3, servesStreams: Bool = false) async throws -> BrokerUnderTest {
        var settings = Settings(app: .tcp(host: "127.0.0.1", port: 9, tls: false))
        settings.historySize = size
        settings.historyTTL = BrokerUnderTest.ttl
        return try await kind.make(settings, servesStreams)
    }
}
