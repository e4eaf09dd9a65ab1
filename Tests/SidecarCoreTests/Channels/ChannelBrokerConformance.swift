import TestSupport
import Testing

@testable import SidecarCore

extension BrokerKind {
    static let memory = BrokerKind("memory", remembersIDs: false) { settings, servesStreams in
        let (clock, events, epochs) = (ManualChannelClock(), BrokerEventRecorder(), EpochCounter())
        let broker = MemoryChannelBroker(
            events: events,
            rules: ChannelRules(settings),
            maxHistoryBytes: 1 << 20,
            servesStreams: servesStreams,
            clock: clock.clock,
            makeEpoch: epochs.next
        )
        return BrokerUnderTest(broker: broker, events: events) { time in
            clock.advance(by: time)
            _ = broker.removeExpired()
        }
    }
}

@Suite("Every broker", .timeLimit(.minutes(2)))
struct ChannelBrokerConformance {
    @Test("The broker in memory", arguments: BrokerCheck.all(of: .memory))
    func memory(check: BrokerCheck) async throws { try await check.run(on: .memory) }
}
