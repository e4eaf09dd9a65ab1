import NIOCore

/// A change of the bans as it is published (``BanScripts``).
struct BanChange: Equatable {
    /// Its number.
    let number: Int64
    /// Whom it is about; nil when everything has to be read again.
    let field: String?
    /// The ban; nil when one was ended.
    let value: ByteBuffer?

    /// Reads a message; nil for a malformed one, and for those of later versions.
    init?(_ payload: ByteBuffer) {
        var payload = payload
        guard Self.word(&payload) == "1", let number = Self.word(&payload).flatMap({ Int64($0) }),
            (1..<BanScripts.mostChanges).contains(number)
        else {
            return nil
        }
        self.number = number
        guard let digits = Self.word(&payload) else {
            field = nil
            value = nil
            return
        }
        guard let length = Int(digits), length > 0, let bytes = payload.readSlice(length: length),
            let field = BanChange.text(bytes), payload.readInteger() == UInt8(ascii: " ")
        else { return nil }
        self.field = field
        value = payload.readableBytes > 0 ? payload : nil
    }

    /// The next word, and the space behind it; nil at the end.
    private static func word(_ payload: inout ByteBuffer) -> String? {
        let bytes = payload.readableBytesView.prefix { $0 != UInt8(ascii: " ") }
        guard !bytes.isEmpty else { return nil }
        let word = String(decoding: bytes, as: UTF8.self)
        payload.moveReaderIndex(forwardBy: min(bytes.count + 1, payload.readableBytes))
        return word
    }

    /// A text in UTF-8; nil if it is none.
    static func text(_ bytes: ByteBuffer) -> String? {
        let text = String(buffer: bytes)
        return text.utf8.elementsEqual(bytes.readableBytesView) ? text : nil
    }
}
