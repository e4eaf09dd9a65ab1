import NIOCore
package import SidecarCore
import Synchronization

/// Writes down what a broker tells its node.
package final class BrokerEventRecorder: ChannelBrokerEvents {
    package struct Received: Sendable {
        package let channel: String
        package let text: String
        package let envelope: ChannelEnvelope
        package let position: ChannelPosition
    }
    package struct Occupancy: Sendable, Equatable {
        package let channel: String
        package let isOccupied: Bool
    }
    package struct Resumption: Sendable, Equatable {
        package let channel: String
        package let isComplete: Bool
    }
    private struct State: Sendable {
        var received: [Received] = []
        var clientEvents: [ClientBroadcast] = []
        var notices: [(MemberNotice, NodeID)] = []
        var incomplete = 0
        var occupancy: [Occupancy] = []
        var resumptions: [Resumption] = []
    }

    private let state = Mutex(State())

    package init() {}

    /// All messages, in the order in which they came.
    package var received: [Received] { state.withLock { $0.received } }
    /// The texts of one channel.
    package func texts(_ channel: String) -> [String] { received.filter { $0.channel == channel }.map(\.text) }
    /// Messages that `receiveComplete` has not followed yet.
    package var incomplete: Int { state.withLock { $0.incomplete } }
    /// First and last subscribers.
    package var occupancy: [Occupancy] { state.withLock { $0.occupancy } }

    /// What was told about messages that are received again.
    package var resumptions: [Resumption] { state.withLock { $0.resumptions } }
    /// How often messages of a channel were told as lost.
    package func losses(_ channel: String) -> Int {
        resumptions.count { $0.channel == channel && !$0.isComplete }
    }

    package func received(_ envelope: ChannelEnvelope, at position: ChannelPosition, time: Int64?) {
        let received = Received(
            channel: envelope.publication.channel.text,
            text: String(buffer: envelope.publication.payload),
            envelope: envelope,
            position: position
        )
        state.withLock { state in
            state.received.append(received)
            state.incomplete += 1
        }
    }

    /// Events of clients, in the order in which they came.
    package var clientEvents: [ClientBroadcast] { state.withLock { $0.clientEvents } }
    package func received(_ event: ClientBroadcast) {
        state.withLock { state in
            state.clientEvents.append(event)
            state.incomplete += 1
        }
    }

    /// What other nodes have told of their users.
    package var notices: [(MemberNotice, NodeID)] { state.withLock { $0.notices } }
    package func received(_ notice: MemberNotice, from node: NodeID) {
        state.withLock { $0.notices.append((notice, node)) }
    }

    package func receiveComplete() { state.withLock { $0.incomplete = 0 } }

    package func occupancyChanged(_ channel: ChannelName, isOccupied: Bool) {
        state.withLock { $0.occupancy.append(Occupancy(channel: channel.text, isOccupied: isOccupied)) }
    }

    package func interrupted() {}
    package func resumed(_ channel: ChannelName, isComplete: Bool, at position: ChannelPosition) {
        state.withLock { $0.resumptions.append(Resumption(channel: channel.text, isComplete: isComplete)) }
    }
}
