internal import NIOCore
internal import SidecarCore

extension Timestamp {
    /// The time as answers have it: `2026-11-23T10:00:00.123Z`.
    static func text(unixMilliseconds: Int64) -> String {
        var text = ByteBuffer()
        write(unixMilliseconds: unixMilliseconds, into: &text)
        return String(buffer: text)
    }
}
