import NIOCore
import SidecarCore
import Synchronization

/// The sessions without a client, by user; for all event loops of this node. A user who has too many connections gets
/// room by the end of the one that has been absent longest.
final class AbsentUsers: Sendable {
    private let places = Mutex<[UserName: [ResumeDirectory.Place]]>([:])

    func add(_ user: UserName, _ place: ResumeDirectory.Place) {
        places.withLock { $0[user, default: []].append(place) }
    }

    func remove(_ user: UserName, _ id: String) {
        places.withLock { places in
            guard var own = places.removeValue(forKey: user) else { return }
            own.removeAll { $0.id == id }
            if !own.isEmpty { places[user] = own }
        }
    }

    /// Ends the session of a user that has been absent longest; false when there is none.
    func endOldest(of user: UserName) -> Bool {
        let oldest = places.withLock { places -> ResumeDirectory.Place? in
            guard var own = places.removeValue(forKey: user), !own.isEmpty else { return nil }
            let oldest = own.removeFirst()
            if !own.isEmpty { places[user] = own }
            return oldest
        }
        guard let oldest else { return false }
        oldest.registry.eventLoop.execute { oldest.registry.value[oldest.id]?.endAbsent() }
        return true
    }
}
