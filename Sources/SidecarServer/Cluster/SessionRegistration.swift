/// How the other nodes know a session.
final class SessionRegistration {
    /// The connection's record.
    let record: [UInt8]
    /// True from the start until the app may be asked.
    var isEntering = false
    /// Whether it is to be registered at all: it has entered and not left.
    var isWanted = false
    /// Whether it has been registered under the node's present identity.
    var isRegistered = false
    /// Whether the engine lacks it, or what has changed of it, since it was away.
    var isMissing = false
    /// Whether it waits for its turn.
    var isQueued = false
    /// Whether another node tells the app of its end.
    var isClaimed = false
    /// For a session of a lost node: called when the app has been told of its end, or with true when that has to be tried
    /// again later.
    var whenTold: (@Sendable (_ isOwed: Bool) -> Void)?

    init(_ record: [UInt8]) { self.record = record }

    /// That of a session that has come from another node, to be registered.
    static func ofComer(_ record: [UInt8]) -> SessionRegistration {
        let registration = SessionRegistration(record)
        registration.isWanted = true
        return registration
    }

    // MARK: Moving

    /// What goes to another event loop.
    struct Moved: Sendable {
        fileprivate let record: [UInt8]
        fileprivate let isWanted: Bool
        fileprivate let isRegistered: Bool
        fileprivate let isMissing: Bool
    }

    /// The session moves to another event loop, which registers it from now on.
    func move() -> Moved {
        defer { isWanted = false }
        return Moved(record: record, isWanted: isWanted, isRegistered: isRegistered, isMissing: isMissing)
    }

    init(_ moved: Moved) {
        record = moved.record
        isWanted = moved.isWanted
        isRegistered = moved.isRegistered
        isMissing = moved.isMissing
    }
}
