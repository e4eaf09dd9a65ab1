import NIOCore
import SidecarCore

/// What a node tells of its users, on the topic of the channel.
///
/// ```
/// p LF NODE BEFORE VERSION CHANGE USER
/// ```
/// The node as two bytes of length and its text, eight bytes for each version, one for the change (0 for none, 1 for a
/// user who has joined, 2 for one who has left), and the user like the node.
enum MemberFrame {
    private static let line: StaticString = "p\n"

    static func write(_ notice: MemberNotice, from node: NodeID) -> ByteBuffer {
        var buffer = ByteBuffer(staticString: line)
        buffer.writeField(node)
        buffer.writeInteger(notice.before)
        buffer.writeInteger(notice.version)
        buffer.writeInteger(notice.change.map { $0.hasJoined ? 1 : 2 } ?? 0 as UInt8)
        buffer.writeField(notice.change?.user.text ?? "")
        return buffer
    }

    /// Whether it is such a frame, or claims to be one.
    static func isOne(_ frame: ByteBuffer) -> Bool { frame.startsWith(line) }

    /// Reads what ``write(_:from:)`` wrote.
    static func read(_ frame: ByteBuffer, of channel: ChannelName) throws(FrameFault) -> (MemberNotice, NodeID) {
        var rest = frame
        guard rest.readLine(line), let node = rest.readField(), !node.isEmpty,
            let before = rest.readInteger(as: UInt64.self), let version = rest.readInteger(as: UInt64.self),
            let kind = rest.readInteger(as: UInt8.self), kind <= 2,
            let user = rest.readField(), user.utf8.count <= UserName.maxBytes, user.isEmpty == (kind == 0)
        else { throw .badBody }
        let change = kind == 0 ? nil : MemberEvent(UserName(user), hasJoined: kind == 1)
        return (MemberNotice(channel: channel, before: before, version: version, change: change), node)
    }
}
