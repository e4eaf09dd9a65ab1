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

    /// Makes room for one more connection of a user, on the event loop; calls with whether there may be some now.
    typealias MakeRoom = (_ completion: @escaping (Bool) -> Void) -> Void
    /// How often it is asked again after room was made: the end of another session takes a moment to be known.
    private static let mostTries = 5
    private static let pause = TimeAmount.milliseconds(50)

    /// Asks for it.
    ///
    /// - Parameters:
    ///   - makeRoom: Called for a user who has reached the limit.
    ///   - isRefused: Whether the limit is enforced on a user who has.
    func ask(
        limit: Int,
        on eventLoop: any EventLoop,
        makeRoom: @escaping MakeRoom,
        isRefused: @escaping () -> Bool
    ) {
        ask(limit, eventLoop) { [self] in
            makeRoom { [self] hasRoom in
                if hasRoom {
                    askAgain(limit, eventLoop, tries: Self.mostTries, isRefused)
                } else {
                    refuse(eventLoop, isRefused)
                }
            }
        }
    }

    /// - Parameter full: Called when the user has reached the limit.
    private func ask(_ limit: Int, _ eventLoop: any EventLoop, full: @escaping () -> Void) {
        let bound = NIOLoopBound((self, full), eventLoop: eventLoop)
        users.open(user, limit: limit) { isGranted in
            eventLoop.execute {
                let (grant, full) = bound.value
                if isGranted { grant.decided(true) } else { full() }
            }
        }
    }

    private func askAgain(_ limit: Int, _ eventLoop: any EventLoop, tries: Int, _ isRefused: @escaping () -> Bool) {
        ask(limit, eventLoop) { [self] in
            guard tries > 0 else { return refuse(eventLoop, isRefused) }
            eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
                self.askAgain(limit, eventLoop, tries: tries - 1, isRefused)
            }
        }
    }

    private func refuse(_ eventLoop: any EventLoop, _ isRefused: () -> Bool) {
        if isRefused() { return decided(false) }
        ask(.max, eventLoop) { [self] in decided(false) }
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
