import NIOCore

@testable import RedisClient

/// A cluster of three masters, each with a replica if wanted.
final class TestCluster: Sendable {
    let nodes: [RedisServer]
    let masters: [RedisServer]

    init(replicas: Bool) async throws {
        var nodes: [RedisServer] = []
        for _ in 0..<(replicas ? 6 : 3) {
            nodes.append(
                try RedisServer([
                    "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-replica-validity-factor",
                    "0",
                ])
            )
        }
        self.nodes = nodes
        masters = Array(nodes.prefix(3))
        do {
            try await eventually("all nodes answer") {
                for node in nodes where try await CommandLineClient.run(node.address, ["ping"]) != "PONG\n" {
                    return false
                }
                return true
            }
            _ = try await CommandLineClient.run(
                nodes[0].address,
                ["--cluster", "create"] + nodes.map { "\($0.address)" }
                    + ["--cluster-replicas", replicas ? "1" : "0", "--cluster-yes"]
            )
            try await eventually("the cluster is up") {
                for node in nodes {
                    let info = try await CommandLineClient.run(node.address, ["cluster", "info"])
                    if !info.contains("cluster_state:ok") || !info.contains("cluster_known_nodes:\(nodes.count)") {
                        return false
                    }
                }
                return true
            }
            guard replicas else { return }
            try await eventually("the replicas are in step") {
                for node in nodes.dropFirst(3) {
                    let info = try await CommandLineClient.run(node.address, ["info", "replication"])
                    if !info.contains("master_link_status:up") { return false }
                }
                return true
            }
        } catch {
            stop()
            throw error
        }
    }

    func stop() { for node in nodes { node.stop() } }

    var configuration: RedisConfiguration {
        var configuration = RedisConfiguration(topology: .cluster([nodes[0].address, nodes[1].address]))
        configuration.backoff = .milliseconds(20) ... .milliseconds(300)
        return configuration
    }

    static func run(replicas: Bool, _ body: (TestCluster) async throws -> Void) async throws {
        let cluster = try await TestCluster(replicas: replicas)
        defer { cluster.stop() }
        try await body(cluster)
    }

    /// The master that owns a slot, by what a node that lives says; it may be the last to hear of a new one.
    func owner(of slot: Int, asking node: RedisServer) async throws -> RedisServer {
        var found: RedisServer?
        try await eventually("somebody owns \(slot)") {
            found = try await knownOwner(of: slot, to: node)
            return found != nil
        }
        guard let found else { throw ServerError("nobody owns \(slot)") }
        return found
    }

    private func knownOwner(of slot: Int, to node: RedisServer) async throws -> RedisServer? {
        let line = try await CommandLineClient.run(node.address, ["cluster", "nodes"]).split(separator: "\n").first {
            line in
            let fields = line.split(separator: " ")
            guard fields.count > 8, fields[2].contains("master"), !fields[2].contains("fail") else { return false }
            return fields.dropFirst(8).contains { range in
                let bounds = range.split(separator: "-").compactMap { Int($0) }
                guard let first = bounds.first, let last = bounds.last else { return false }
                return first <= slot && slot <= last
            }
        }
        return line.flatMap { line in nodes.first { line.contains("127.0.0.1:\($0.port)@") } }
    }

    func id(of server: RedisServer) async throws -> String {
        try await CommandLineClient.run(server.address, ["cluster", "myid"]).filter { $0.isHexDigit }
    }

    /// Begins to move a slot: from now on both answer with `ASK` and `TRYAGAIN` where it applies.
    func beginMove(_ slot: Int, from: RedisServer, to: RedisServer) async throws {
        let fromID = try await id(of: from)
        let toID = try await id(of: to)
        _ = try await CommandLineClient.run(to.address, ["cluster", "setslot", "\(slot)", "importing", fromID])
        _ = try await CommandLineClient.run(from.address, ["cluster", "setslot", "\(slot)", "migrating", toID])
    }

    /// Moves the keys.
    func moveKeys(_ slot: Int, from: RedisServer, to: RedisServer) async throws {
        while true {
            let keys = try await CommandLineClient.run(from.address, ["cluster", "getkeysinslot", "\(slot)", "100"])
                .split(separator: "\n").map(String.init)
            if keys.isEmpty { return }
            _ = try await CommandLineClient.run(
                from.address,
                ["migrate", "127.0.0.1", "\(to.port)", "", "0", "5000", "keys"] + keys
            )
        }
    }

    /// Ends the move: the slot has another owner.
    func endMove(_ slot: Int, to: RedisServer) async throws {
        let toID = try await id(of: to)
        _ = try await CommandLineClient.run(to.address, ["cluster", "setslot", "\(slot)", "node", toID])
        for master in masters where master !== to {
            _ = try await CommandLineClient.run(master.address, ["cluster", "setslot", "\(slot)", "node", toID])
        }
    }
}
