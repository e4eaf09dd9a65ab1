import Logging
import NIOCore
import NIOPosix
import RedisClient
import SidecarCore
import TestSupport
import Testing

@testable import RedisCluster

extension BrokerKind {
    /// The server that all checks use, each with a prefix of its own.
    private static let server = Task { try await RedisProcess() }

    static let redis = BrokerKind("Redis", remembersIDs: true) { settings, servesStreams in
        let server = try await server.value
        let events = BrokerEventRecorder()
        let nodeSettings = ClusterNodeSettings.test
        let broker = RedisChannelBroker(
            RedisConfiguration(topology: .standalone(RedisAddress(host: "127.0.0.1", port: server.port))),
            settings: nodeSettings,
            rules: ChannelRules(settings),
            events: events,
            unixMilliseconds: TestClock.unixMilliseconds,
            link: .test(),
            on: MultiThreadedEventLoopGroup.singleton.any(),
            logger: .silent
        )
        broker.start()
        let isUp = await eventually { broker.isUp }
        try #require(isUp)
        return BrokerUnderTest(broker: broker, events: events) {
            try server.pass(milliseconds: $0.nanoseconds / 1_000_000, prefix: nodeSettings.prefix)
        }
    }
}

@Suite("The broker over Redis", .serialized, .timeLimit(.minutes(3)), .enabled(if: RedisProcess.isInstalled))
struct RedisBrokerConformance {
    @Test("It does what every broker does", arguments: BrokerCheck.all(of: .redis))
    func conforms(check: BrokerCheck) async throws { try await check.run(on: .redis) }
}
