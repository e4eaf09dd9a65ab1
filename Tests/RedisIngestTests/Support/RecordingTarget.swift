import NIOCore
import RedisIngest
import SidecarCore
import Synchronization

/// An engine that keeps what is published, and knows idempotency keys.
final class RecordingTarget: IngestTarget {
    struct Record: Sendable, Equatable {
        let channel: String
        let text: String
        let event: String?
        let excluded: String?
        let key: String
    }

    private struct State {
        var records: [Record] = []
        var keys: Set<String> = []
        var repeats = 0
        var attempts = 0
        var failure: ChannelFailure?
        var isHeld = false
        var held: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    var records: [Record] { state.withLock { $0.records } }
    /// Publications that were there already.
    var repeats: Int { state.withLock { $0.repeats } }
    /// Calls, whatever came of them.
    var attempts: Int { state.withLock { $0.attempts } }
    /// What calls fail with; nil to store again.
    var failure: ChannelFailure? {
        get { state.withLock { $0.failure } }
        set { state.withLock { $0.failure = newValue } }
    }
    /// Calls that wait.
    var heldCount: Int { state.withLock { $0.held.count } }

    func texts(_ channel: String) -> [String] { records.filter { $0.channel == channel }.map(\.text) }

    /// Lets calls wait, or go on.
    func hold(_ isHeld: Bool) {
        let held = state.withLock { state in
            state.isHeld = isHeld
            defer { if !isHeld { state.held = [] } }
            return isHeld ? [] : state.held
        }
        for continuation in held { continuation.resume() }
    }

    func publish(_ publication: Publication, excluding id: String?, idempotencyKey: String) async
        -> Result<Void, ChannelFailure>
    {
        await withCheckedContinuation { continuation in
            let waits = state.withLock { state in
                if state.isHeld { state.held.append(continuation) }
                return state.isHeld
            }
            if !waits { continuation.resume() }
        }
        return state.withLock { state in
            state.attempts += 1
            if let failure = state.failure { return .failure(failure) }
            guard state.keys.insert("\(publication.channel) \(idempotencyKey)").inserted else {
                state.repeats += 1
                return .success(())
            }
            state.records.append(
                Record(
                    channel: publication.channel.text,
                    text: String(buffer: publication.payload),
                    event: publication.event,
                    excluded: id,
                    key: idempotencyKey
                )
            )
            return .success(())
        }
    }
}
