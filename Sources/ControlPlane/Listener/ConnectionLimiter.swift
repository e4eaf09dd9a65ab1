internal import NIOCore
internal import Synchronization

/// The connections of one control listener: when there are too many, the one that has waited longest makes room.
///
/// Without it, clients that keep their connections, or begin a request and never end it, would keep a probe out.
final class ConnectionLimiter: Sendable {
    private struct State {
        var waiting: [ObjectIdentifier: (channel: any Channel, since: NIODeadline)] = [:]
        var busy: Set<ObjectIdentifier> = []
    }

    private let capacity: Int
    private let state = Mutex(State())

    /// - Parameter capacity: Connections at once, at least 1.
    init(capacity: Int) {
        self.capacity = max(capacity, 1)
    }

    /// A connection has come, or has got its answer: it waits for a request, or for the rest of one.
    func waits(_ channel: any Channel) {
        let key = ObjectIdentifier(channel)
        let longest: (any Channel)? = self.state.withLock { state in
            state.busy.remove(key)
            state.waiting[key] = (channel, .now())
            guard state.waiting.count + state.busy.count > self.capacity else { return nil }
            let longest = state.waiting.filter { $0.key != key }.min { $0.value.since < $1.value.since }
            guard let longest else { return nil }
            state.waiting[longest.key] = nil
            return longest.value.channel
        }
        longest?.close(promise: nil)
    }

    /// A request is whole: its answer is on its way.
    func isBusy(_ channel: any Channel) {
        let key = ObjectIdentifier(channel)
        self.state.withLock { state in
            if state.waiting.removeValue(forKey: key) != nil { state.busy.insert(key) }
        }
    }

    /// A connection has gone.
    func left(_ channel: any Channel) {
        let key = ObjectIdentifier(channel)
        self.state.withLock { state in
            state.waiting[key] = nil
            state.busy.remove(key)
        }
    }
}
