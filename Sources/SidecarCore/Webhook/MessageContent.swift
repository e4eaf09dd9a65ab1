import NIOCore

/// A message in JSON: a member `text` or `base64`.
struct MessageContent {
    let format: MessageFormat
    let payload: ByteBuffer

    static let needsOne = JSONReader.Fault(sentence: "either text or base64 is needed.")

    /// Reads the value of one of these members; false for another member.
    static func read(
        _ name: String,
        from reader: inout JSONReader,
        into content: inout MessageContent?
    ) throws(JSONReader.Fault) -> Bool {
        guard name == "text" || name == "base64" else { return false }
        if reader.takeWord("null") { return true }
        let value = try reader.string()
        guard content == nil else { throw needsOne }
        if name == "text" {
            content = MessageContent(format: .text, payload: ByteBuffer(string: value))
        } else {
            guard let bytes = Base64.decoded(value) else {
                throw JSONReader.Fault(sentence: "the base64 is not valid.")
            }
            content = MessageContent(format: .binary, payload: bytes)
        }
        return true
    }
}
