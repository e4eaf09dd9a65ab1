import NIOCore
import SidecarCore

/// The first line of a message from node to node: `1 KIND SENDER NUMBER TIME`, with the time in milliseconds since 1970 by
/// the engine's clock.
struct CallHead: Equatable {
    enum Kind: String {
        case question = "q"
        case answer = "a"
    }

    /// The longest line, in bytes.
    private static let maxLine = 128
    /// The longest id of a node.
    private static let maxSender = 32

    let kind: Kind
    let sender: NodeID
    /// Of the question; each of a sender has its own.
    let number: UInt64
    let time: Int64

    var text: String { "1 \(kind.rawValue) \(sender) \(number) \(time)" }

    init(_ kind: Kind, sender: NodeID, number: UInt64, time: Int64) {
        self.kind = kind
        self.sender = sender
        self.number = number
        self.time = time
    }

    /// Reads the line and moves behind it; nil for anything else.
    init?(_ bytes: inout ByteBuffer) {
        let view = bytes.readableBytesView
        guard let end = view.prefix(Self.maxLine).firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        let parts = String(decoding: view[..<end], as: UTF8.self).split(
            separator: " ",
            omittingEmptySubsequences: false
        )
        guard parts.count == 5, parts[0] == "1", let kind = Kind(rawValue: String(parts[1])), !parts[2].isEmpty,
            parts[2].utf8.count <= Self.maxSender, let number = UInt64(parts[3]), let time = Int64(parts[4])
        else { return nil }
        self.init(kind, sender: String(parts[2]), number: number, time: time)
        bytes.moveReaderIndex(forwardBy: end - view.startIndex + 1)
    }
}
