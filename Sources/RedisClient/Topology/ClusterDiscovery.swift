import Logging
import NIOCore

/// Asks a node of a cluster for its slots: over a connection that is up, or over one of its own to any node.
final class ClusterDiscovery: RedisLinkOwner {
    private let context: RedisContext
    private let seeds: [RedisAddress]
    private var candidates: [RedisAddress]
    private var next = 0
    private var failures = 0
    private var link: RedisLink?
    private var completion: ((SlotTable?) -> Void)?
    private var outage: OutageLog
    /// Why nobody could be asked at last.
    private(set) var obstacle: String?

    init(seeds: [RedisAddress], context: RedisContext) {
        self.seeds = seeds
        self.context = context
        candidates = seeds
        outage = OutageLog(logger: context.logger, name: "Redis Cluster")
    }

    /// Asks over a connection, or without one over a new connection to one node after the other until one answers.
    ///
    /// - Parameter completion: Gets nil when the connection gave no answer.
    func ask(
        _ connection: RedisConnection?,
        knownNodes: Set<RedisAddress>,
        _ completion: @escaping (SlotTable?) -> Void
    ) {
        if let connection {
            send(over: connection, completion)
            return
        }
        self.completion = completion
        // Those that are known now first, in any order; the seeds may have gone long ago.
        candidates = knownNodes.filter { !seeds.contains($0) } + seeds
        if link == nil {
            link = RedisLink(context: context, purpose: .anyNode, shard: nil, owner: self, traffic: self)
        }
        link?.connectNow()
    }

    func stop() {
        completion = nil
        let link = link
        self.link = nil
        link?.stop()
    }

    private func send(over connection: RedisConnection, _ completion: @escaping (SlotTable?) -> Void) {
        var command = RedisCommand("CLUSTER", ["SLOTS"], slotKey: nil)
        command.followsRedirects = false
        let host = connection.address.host
        let deadline = context.eventLoop.now + context.configuration.commandTimeout
        var request = RedisRequest(command, deadline: deadline) { [context] result in
            switch result {
            case .success(let value):
                let table = SlotTable(value, asked: host)
                if table == nil { context.logger.debug("A reply to CLUSTER SLOTS is of no use.") }
                completion(table)
            case .failure(let failure):
                context.logger.debug("No reply to CLUSTER SLOTS.", metadata: ["reason": "\(failure.sentence)"])
                completion(nil)
            }
        }
        request.staysOnConnection = true
        switch connection.send(request) {
        case .accepted: break
        case .full, .closed: context.later { completion(nil) }
        }
    }

    // MARK: The own connection

    func address(for link: RedisLink) -> RedisAddress? {
        candidates.isEmpty ? nil : candidates[next % candidates.count]
    }

    func linkReady(_ link: RedisLink, _ connection: RedisConnection, _ server: RedisServerInfo) {
        send(over: connection) { [weak self, weak connection] table in
            guard let self, let completion = self.completion else { return }
            guard let table else {
                connection?.close(
                    .refusal("The node does not tell the slots of the cluster; look at its CLUSTER SLOTS.")
                )
                return
            }
            self.obstacle = nil
            self.failures = 0
            self.outage.ended(at: self.context.eventLoop.now)
            self.stop()
            completion(table)
        }
    }

    func linkFailed(_ link: RedisLink, _ fault: ConnectionFault, wasReady: Bool) {
        guard link === self.link else { return }
        obstacle = fault.sentence
        next = (next + 1) % max(1, candidates.count)
        failures = min(failures + 1, 1_000_000)
        if failures >= candidates.count { outage.began(fault, at: context.eventLoop.now) }
    }
}

extension ClusterDiscovery: OwnRequestsOnly {}
