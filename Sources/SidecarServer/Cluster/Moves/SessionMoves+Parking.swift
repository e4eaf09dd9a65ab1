import CoreMetrics
import NIOCore
import SidecarCore
import Synchronization

/// Sessions that the last node has left with the engine: the next node that looks takes them all, and each waits there for
/// its client, or its end is told to the app.
extension SessionMoves {
    /// From now on sessions can be taken.
    ///
    /// - Parameter shards: The event loops, while they run.
    func begin(_ shards: @escaping @Sendable () -> ShardDirectory?) { self.shards.withLock { $0 = shards } }

    /// Takes what there is; those who ask meanwhile wait for that.
    func adoptParked() async {
        let running = adoption.withLock { running -> Task<Void, Never> in
            if let running { return running }
            let task = Task { await self.adoptAll() }
            running = task
            return task
        }
        await running.value
        adoption.withLock { if $0 == running { $0 = nil } }
    }

    private func adoptAll() async {
        guard let shards = shards.withLock({ $0 })?(), await takesAbsent(shards) else { return }
        while case let parked = await engine.takeParked(), !parked.isEmpty {
            for session in parked { await adopt(session, shards) }
        }
    }

    private func takesAbsent(_ shards: ShardDirectory) async -> Bool {
        await shards.collect(on: [0]) { $0.takesAbsent } == [true]
    }

    private func adopt(_ session: ParkedSession, _ shards: ShardDirectory) async {
        guard var record = try? SessionRecord(bytes: session.record, at: .now() - session.age) else {
            return results[.failed].increment()
        }
        record.absence.left = max(record.absence.left - session.age, .zero)
        if await restore(record, shards) { return }
        results[.failed].increment()
        let connection = RegisteredConnection(
            id: record.id,
            connection: record.connection,
            identity: record.identity.record
        )
        guard let lost = try? LostConnection(connection) else { return }
        await shards.spread([lost]) { shard, lost in
            BridgeSession(lost: lost, context: shard.sessionContext) { _ in }.tellLoss()
        }
    }

    /// A session waits for its client on one of the event loops; false when it cannot.
    func restore(_ record: SessionRecord, _ shards: ShardDirectory) async -> Bool {
        let loop = next.wrappingAdd(1, ordering: .relaxed).oldValue % max(1, shards.loops.count)
        return await shards.collect(on: [loop]) {
            $0.takesAbsent && BridgeSession.restore(record, nil, in: $0.sessionContext) != nil
        } == [true]
    }
}
