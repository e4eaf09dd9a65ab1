import NIOCore
import SidecarCore

/// A client's event on the topic of its channel.
///
/// ```
/// e LF FORMAT SENDER USER TYPE PAYLOAD
/// ```
/// One byte for the format, then sender, user and type, each as two bytes of length and its text, then the payload. A
/// message of a channel begins with another line (``MessageFrame``).
enum ClientEventFrame {
    private static let line: StaticString = "e\n"
    /// The byte of each format is its index here.
    private static let formats: [MessageFormat] = [.json, .messagePack, .binary]

    static func write(_ event: ClientBroadcast) -> ByteBuffer {
        var buffer = ByteBuffer(staticString: line)
        buffer.writeInteger(UInt8(clamping: formats.firstIndex(of: event.format) ?? 0))
        for field in [event.sender, event.user?.text ?? "", event.type] { buffer.writeField(field) }
        buffer.writeImmutableBuffer(event.payload)
        return buffer
    }

    /// Whether it is such a frame, or claims to be one.
    static func isOne(_ frame: ByteBuffer) -> Bool { frame.startsWith(line) }

    /// Reads what ``write(_:)`` wrote.
    static func read(_ frame: ByteBuffer, of channel: ChannelName) throws(FrameFault) -> ClientBroadcast {
        var rest = frame
        guard rest.readLine(line), let number = rest.readInteger(as: UInt8.self).map(Int.init),
            formats.indices.contains(number),
            let sender = rest.readField(), let user = rest.readField(), let type = rest.readField(),
            type.hasPrefix("client-"), type.utf8.allSatisfy({ 0x20...0x7E ~= $0 }),
            user.utf8.count <= UserName.maxBytes
        else { throw .badBody }
        return ClientBroadcast(
            channel: channel,
            type: type,
            sender: sender,
            user: user.isEmpty ? nil : UserName(user),
            format: formats[number],
            payload: rest
        )
    }
}
