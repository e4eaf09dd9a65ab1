import NIOCore

/// The attributes that differ between the events of one connection.
struct EventAttributes {
    let type: StaticString
    let connectionID: String
    let sequence: UInt64
    let unixMilliseconds: Int64
    var contentType: StaticString?

    /// The value of `ce-id`.
    var id: String { "\(connectionID)-\(sequence)" }

    /// What ``write(with:)`` takes at most, in bytes: the names and numbers have less than 200.
    var measure: Int {
        200 + type.utf8CodeUnitCount + connectionID.utf8.count + (contentType?.utf8CodeUnitCount ?? 0)
    }

    func write(with writer: inout TextWriter) {
        writer.write("ce-type: ")
        writer.write(type)
        writer.write("\r\nce-id: ")
        writer.write(string: connectionID)
        writer.write("-")
        writer.write(sequence)
        writer.write("\r\nce-sequence: ")
        writer.write(sequence)
        writer.write("\r\nce-time: ")
        Timestamp.write(unixMilliseconds: unixMilliseconds, with: &writer)
        if let contentType {
            writer.write("\r\nContent-Type: ")
            writer.write(contentType)
        }
        writer.write("\r\n")
    }
}

extension SessionEvent {
    /// The value of `ce-type`.
    var type: StaticString {
        switch self {
        case .open: "sidesocket.open"
        case .message, .batch: "sidesocket.message"
        case .revalidate: "sidesocket.revalidate"
        case .close: "sidesocket.close"
        }
    }
}
