internal import NIOCore

/// The connections of one control listener: when there are too many, the one that has waited longest makes room.
///
/// Without it, clients that keep their connections, or begin a request and never end it, would keep a probe out.
///
/// Only the one event loop of the listener touches it.
final class ConnectionCrowd: @unchecked Sendable {
    private let capacity: Int
    private var waiting: [ObjectIdentifier: (channel: any Channel, since: NIODeadline)] = [:]
    private var busy: Set<ObjectIdentifier> = []

    /// - Parameter capacity: Connections at once, at least 1.
    init(capacity: Int) {
        self.capacity = max(capacity, 1)
    }

    /// A connection has come, or has got its answer: it waits for a request, or for the rest of one.
    func waits(_ channel: any Channel) {
        let key = ObjectIdentifier(channel)
        self.busy.remove(key)
        self.waiting[key] = (channel, .now())
        guard self.waiting.count + self.busy.count > self.capacity else { return }
        let longest = self.waiting.filter { $0.key != key }.min { $0.value.since < $1.value.since }
        guard let longest else { return }
        self.waiting[longest.key] = nil
        longest.value.channel.close(promise: nil)
    }

    /// A request is whole: its answer is on its way.
    func isBusy(_ channel: any Channel) {
        guard self.waiting.removeValue(forKey: ObjectIdentifier(channel)) != nil else { return }
        self.busy.insert(ObjectIdentifier(channel))
    }

    /// A connection has gone.
    func left(_ channel: any Channel) {
        self.waiting[ObjectIdentifier(channel)] = nil
        self.busy.remove(ObjectIdentifier(channel))
    }
}
