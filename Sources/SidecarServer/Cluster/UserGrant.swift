import NIOCore
import SidecarCore

/// That a session counts with its user's connections on all nodes: asked for when the user is known, given back once.
final class UserGrant {
    let user: UserName
    private let users: any ClusterUsers
    private var isGranted: Bool?
    private var isReleased = false
    private var waiting: ((Bool) -> Void)?

    init(_ user: UserName, users: any ClusterUsers) {
        self.user = user
        self.users = users
    }

    /// That of a session that has counted on another node, and counts here from now on.
    init(takingOver user: UserName, users: any ClusterUsers) {
        self.user = user
        self.users = users
        isGranted = true
        users.open(user, limit: .max) { _ in }
    }

    /// A grant that is decided, on its way to another event loop.
    struct Decided: Sendable {
        fileprivate let user: UserName
        fileprivate let users: any ClusterUsers
        fileprivate let isGranted: Bool
    }

    var isDecided: Bool { isGranted != nil }
    var decided: Decided? { isGranted.map { Decided(user: user, users: users, isGranted: $0) } }

    init(_ decided: Decided) {
        user = decided.user
        users = decided.users
        isGranted = decided.isGranted
    }

    /// Asks for it.
    ///
    /// - Parameter isRefused: Whether the limit is enforced on a user who has reached it.
    func ask(limit: Int, on eventLoop: any EventLoop, isRefused: @escaping () -> Bool) {
        let bound = NIOLoopBound((self, isRefused), eventLoop: eventLoop)
        users.open(user, limit: limit) { isGranted in
            eventLoop.execute {
                let (grant, isRefused) = bound.value
                if isGranted || isRefused() { return grant.decided(isGranted) }
                grant.ask(limit: .max, on: eventLoop) { true }
            }
        }
    }

    private func decided(_ isGranted: Bool) {
        self.isGranted = isGranted
        if isReleased, isGranted { users.close(user) }
        let waiting = waiting
        self.waiting = nil
        waiting?(isGranted)
    }

    /// Calls when it is decided; only the last one is called.
    func whenDecided(_ body: @escaping (Bool) -> Void) {
        if let isGranted { return body(isGranted) }
        waiting = body
    }

    /// The session counts no longer.
    func release() {
        guard !isReleased else { return }
        isReleased = true
        if isGranted == true { users.close(user) }
    }
}
