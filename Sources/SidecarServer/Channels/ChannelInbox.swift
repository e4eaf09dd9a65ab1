import DequeModule
import NIOCore
import SidecarCore
import Synchronization

/// What waits for one event loop, in the broker's order.
final class ChannelInbox: Sendable {
    enum Item: Sendable {
        case publication(ChannelDelivery)
        /// A client's event for the others in its channel.
        case clientEvent(ClientBroadcast, SharedFrame)
        /// A user has come into a channel, or is gone.
        case member(ChannelName, MemberEvent, SharedFrame)
        /// Messages of a channel are received again, from this position on.
        case resumed(ChannelName, isComplete: Bool, at: ChannelPosition)
    }

    private struct State: Sendable {
        var items: Deque<Item> = []
        var isAwake = false
    }

    private let state = Mutex(State())
    private let eventLoop: any EventLoop
    private let drain: @Sendable () -> Void

    /// - Parameter drain: Called on the loop when something has been added.
    init(eventLoop: any EventLoop, drain: @escaping @Sendable () -> Void) {
        self.eventLoop = eventLoop
        self.drain = drain
    }

    /// Adds an item; true when the loop has to be woken.
    func append(_ item: Item) -> Bool {
        state.withLock { state in
            state.items.append(item)
            defer { state.isAwake = true }
            return !state.isAwake
        }
    }

    func wake() {
        eventLoop.execute { self.drain() }
    }

    /// Takes all items.
    func take() -> Deque<Item> {
        state.withLock { state in
            defer { state = State() }
            return state.items
        }
    }
}
