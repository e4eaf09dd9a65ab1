import DequeModule
import NIOCore
import SidecarCore
import Synchronization

/// The publications that wait for one event loop.
final class ChannelInbox: Sendable {
    private struct State: Sendable {
        var deliveries: Deque<ChannelDelivery> = []
        var isAwake = false
    }

    private let state = Mutex(State())
    private let eventLoop: any EventLoop
    private let drain: @Sendable () -> Void

    /// - Parameter drain: Called on the loop when deliveries have been added.
    init(eventLoop: any EventLoop, drain: @escaping @Sendable () -> Void) {
        self.eventLoop = eventLoop
        self.drain = drain
    }

    /// Adds one; true when the loop has to be woken.
    func append(_ delivery: ChannelDelivery) -> Bool {
        state.withLock { state in
            state.deliveries.append(delivery)
            defer { state.isAwake = true }
            return !state.isAwake
        }
    }

    func wake() {
        eventLoop.execute { self.drain() }
    }

    /// Takes all deliveries.
    func take() -> Deque<ChannelDelivery> {
        state.withLock { state in
            defer { state = State() }
            return state.deliveries
        }
    }
}
