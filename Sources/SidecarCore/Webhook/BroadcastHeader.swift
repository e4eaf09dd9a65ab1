public import HTTP1
internal import NIOCore

/// A `Sidesocket-Broadcast` field of a response that is passed through: `CHANNEL TEXT`.
///
/// The name of the channel may be in quotes (``ChannelName``), and has to be when it has a semicolon. `;enc=percent`
/// after it says that the text is percent-encoded, for what a header cannot hold; without it the text is the rest of
/// the field, as UTF-8.
public struct BroadcastHeader: Sendable, Equatable {
    /// The longest field, in bytes.
    public static let maxBytes = 8 << 10

    /// Why a field is not published.
    public enum Fault: Error, Sendable {
        /// It is longer than ``BroadcastHeader/maxBytes``.
        case tooLong
        /// It is not `CHANNEL TEXT`.
        case malformed

        /// What is wrong, and how to fix it.
        public var sentence: String {
            switch self {
            case .tooLong:
                "Sidesocket-Broadcast may have \(BroadcastHeader.maxBytes) bytes; publish by the API instead."
            case .malformed:
                "Sidesocket-Broadcast is a channel, a space and a text, UTF-8 or percent-encoded behind CHANNEL;enc=percent."
            }
        }
    }

    /// The publication, which is text.
    public let publication: Publication

    /// The fields of a reply, each with its publication or what is wrong with it.
    public static func all(in headers: HTTPHeaders) -> [Result<BroadcastHeader, Fault>] {
        var found: [Result<BroadcastHeader, Fault>] = []
        headers.forEach { name, value in
            guard HTTPField.equals(name, "sidesocket-broadcast") else { return }
            found.append(Result { () throws(Fault) in try BroadcastHeader(value) })
        }
        return found
    }

    /// Reads the value of a field.
    init(_ value: UnsafeRawBufferPointer) throws(Fault) {
        guard value.count <= Self.maxBytes else { throw .tooLong }
        guard let text = String(validating: value, as: UTF8.self) else { throw .malformed }
        var rest = text.utf8[...]
        let marker = Array(";enc=percent".utf8)
        var isEncoded = false
        let channel: ChannelName?
        if rest.first == UInt8(ascii: "\"") {
            channel = ChannelName.leading(&rest, until: ",")
            if rest.starts(with: marker) {
                isEncoded = true
                rest = rest.dropFirst(marker.count)
            }
        } else {
            var name = rest.prefix { !HTTPField.isSpace($0) }
            rest = rest[name.endIndex...]
            if name.suffix(marker.count).elementsEqual(marker) {
                isEncoded = true
                name = name.dropLast(marker.count)
            }
            // After a semicolon there is a parameter, and this is the only one.
            channel = name.contains(UInt8(ascii: ";")) ? nil : ChannelName(Substring(name))
        }
        guard let channel, rest.popFirst() == UInt8(ascii: " ") else { throw .malformed }
        publication = Publication(
            channel: channel,
            format: .text,
            payload: try Self.payload(rest, isEncoded: isEncoded)
        )
    }

    private static func payload(_ text: Substring.UTF8View, isEncoded: Bool) throws(Fault) -> ByteBuffer {
        guard isEncoded else { return ByteBuffer(bytes: text) }
        let bytes = ByteBuffer(bytes: PercentEncoding.bytes(text))
        guard bytes.isValidUTF8 else { throw .malformed }
        return bytes
    }
}
