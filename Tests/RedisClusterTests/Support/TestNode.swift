import NIOCore
import NIOPosix
import RedisClient
import SidecarCore
import TestSupport
import Testing

@testable import RedisCluster

/// A node of a cluster, and what it has received.
final class TestNode: Sendable {
    let broker: RedisChannelBroker
    let events = BrokerEventRecorder()
    let member: FakeMember

    /// A node that has connected.
    init(
        _ server: RedisProcess,
        prefix: String,
        name: String = "node",
        secret: String? = nil,
        history: Int = 0,
        countInterval: TimeAmount = .seconds(10),
        channelEvents: Bool = false,
        lease: TimeAmount = .seconds(10),
        minReplicas: Int = 0,
        maxUntoldLosses: Int = 65_536
    ) async throws {
        var settings = ClusterNodeSettings.test
        settings.prefix = prefix
        settings.countInterval = countInterval
        settings.channelEvents = channelEvents
        settings.lease = lease
        settings.minReplicas = minReplicas
        settings.maxUntoldLosses = maxUntoldLosses
        settings.nodeName = name
        settings.secrets = secret.flatMap { ClusterSecrets($0) }
        member = FakeMember(name)
        var rules = Settings(app: .tcp(host: "127.0.0.1", port: 9, tls: false))
        rules.historySize = history
        var configuration = RedisConfiguration(
            topology: .standalone(RedisAddress(host: "127.0.0.1", port: server.port))
        )
        configuration.backoff = .milliseconds(10) ... .milliseconds(100)
        broker = RedisChannelBroker(
            configuration,
            settings: settings,
            rules: ChannelRules(rules),
            events: events,
            unixMilliseconds: TestClock.unixMilliseconds,
            link: .test(member),
            on: MultiThreadedEventLoopGroup.singleton.any(),
            logger: .silent
        )
        broker.start()
        let isUp = await eventually { broker.isUp }
        try #require(isUp)
    }

    deinit { broker.abandon() }

    /// Runs on the node's event loop.
    func ask<Answer: Sendable>(
        _ body: @escaping @Sendable (RedisChannelNode, @escaping (Answer) -> Void) -> Void
    ) async throws -> Answer {
        guard let answer = await broker.query(body) else { throw NoAnswer() }
        return answer
    }

    /// Its present identity.
    func id() async throws -> NodeID { try await ask { $1($0.context.incarnation) } }

    /// The nodes that it knows, by name.
    func names() async throws -> [String] { try await ask { $1($0.registry.nodes.map(\.name)) } }

    /// Registers connections.
    func register(_ ids: [String], strike: [String] = []) async throws -> Bool {
        let connections = ids.map {
            RegisteredConnection(id: $0, connection: Array("connection \($0)".utf8), identity: Array("who \($0)".utf8))
        }
        return try await ask { $0.registrations.change(connections, strike: strike, $1) }
    }

    func publish(_ text: String, to channel: ChannelName, id: String? = nil) async throws -> ChannelPosition {
        let publication = Publication(channel: channel, format: .text, payload: ByteBuffer(string: text))
        let result: Result<ChannelPosition, ChannelFailure> = try await answer { completion in
            broker.publish(ChannelEnvelope(publication), id: id) { completion($0) }
        }
        return try result.get()
    }

    /// Subscribes, and waits until it holds.
    @discardableResult
    func subscribe(_ channel: ChannelName) async throws -> ChannelReplay {
        while true {
            let result: Result<ChannelReplay, ChannelFailure> = try await answer { completion in
                broker.subscribe(channel, after: nil, reader: 0) { completion($0) }
            }
            if case .success(let replay) = result { return replay }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// Waits until all counters have been compared twice more, so that what they can show has been shown.
    func compareCounters() async throws {
        let enough = await broker.comparisons() + 3 * ClusterKeys.tags
        let deadline = ContinuousClock.now + .seconds(10)
        while await broker.comparisons() < enough {
            guard ContinuousClock.now < deadline else { throw NoAnswer() }
            await Task.yield()
        }
    }

    func texts(_ channel: ChannelName) -> [String] { events.texts(channel.text) }
}

/// Talks to the server as an operator would.
struct RedisShell {
    let port: Int

    /// Runs `redis-cli` with these arguments.
    @discardableResult
    func run(_ arguments: String...) throws -> String {
        try RedisProcess.output(of: ["/usr/bin/redis-cli", "-p", "\(port)"] + arguments)
    }
}
