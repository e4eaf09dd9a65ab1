import CoreMetrics
import SidecarCore

/// What is measured of the messages that go one way.
final class MessageMetrics: Sendable {
    /// As seen from Sidesocket, the `direction` label.
    enum Direction: String {
        case incoming = "in"
        case outgoing = "out"
    }

    /// The `type` label.
    private enum Format: String, CaseIterable {
        case text
        case binary
    }

    /// Where bytes are counted, the `stage` label.
    private enum Stage: String, CaseIterable {
        /// As they are on the network, framed and perhaps compressed.
        case wire
        case payload
    }

    let text: Counter
    let binary: Counter
    let wireBytes: Counter
    let payloadBytes: Counter

    init(_ direction: Direction) {
        let direction = [("direction", direction.rawValue)]
        let messages = LabelledCounters<Format>("sidesocket_messages_total", "type", beside: direction)
        let bytes = LabelledCounters<Stage>("sidesocket_message_bytes_total", "stage", beside: direction)
        (text, binary) = (messages[.text], messages[.binary])
        (wireBytes, payloadBytes) = (bytes[.wire], bytes[.payload])
    }

    func message(_ format: MessageFormat, payloadBytes count: Int) {
        if format.isText { text.increment() } else { binary.increment() }
        payloadBytes.increment(by: Int64(count))
    }
}
