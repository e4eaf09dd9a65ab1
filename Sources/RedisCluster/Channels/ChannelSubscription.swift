import NIOCore
import SidecarCore

/// One channel that this node subscribes to.
final class ChannelSubscription {
    /// A subscriber that waits until the subscription holds.
    struct Waiter {
        let known: KnownPoint?
        let reader: UInt64
        let deadline: NIODeadline
        let completion: @Sendable (Result<ChannelReplay, ChannelFailure>) -> Void
    }

    let channel: ChannelName
    var follower: ChannelFollower
    /// Those that wait for the subscription to hold.
    var waiters: [Waiter] = []
    /// Whether a subscriber was told that the subscription does not hold yet, and has to hear when it does.
    var owesResumption = false
    /// Publications of this node that wait for it, so that their subscribers here get them.
    var parked: [PendingPublication] = []
    var recent = RecentMessages()
    /// The number of the last question; answers to earlier ones no longer count.
    var question: UInt64 = 0
    /// When the head was refreshed last, which a question does too.
    var refreshedAt = NIODeadline.now()

    init(_ channel: ChannelName, isDelayed: Bool) {
        self.channel = channel
        follower = ChannelFollower(isDelayed: isDelayed)
    }
}
