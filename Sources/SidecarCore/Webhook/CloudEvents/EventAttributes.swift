import NIOCore

/// The attributes that differ between the events of one connection.
struct EventAttributes {
    let type: StaticString
    let connectionID: String
    /// 0 for the end of a connection whose node was lost, which has no place in its order of events.
    let sequence: UInt64
    let unixMilliseconds: Int64
    var contentType: StaticString?
    /// What a client of the protocol says of its message.
    var label: MessageLabel?

    /// The value of `ce-id`.
    var id: String { sequence == 0 ? "\(connectionID)-lost" : "\(connectionID)-\(sequence)" }

    /// What ``write(with:)`` takes at most, in bytes: the names and numbers have less than 200.
    var measure: Int {
        200 + type.utf8CodeUnitCount + connectionID.utf8.count + (contentType?.utf8CodeUnitCount ?? 0)
            + (label.map { 40 + 3 * ($0.type.utf8.count + ($0.id?.utf8.count ?? 0)) } ?? 0)
    }

    func write(with writer: inout TextWriter) {
        writer.write("ce-type: ")
        writer.write(type)
        writer.write("\r\nce-id: ")
        writer.write(string: connectionID)
        if sequence == 0 {
            writer.write("-lost")
        } else {
            writer.write("-")
            writer.write(sequence)
            writer.write("\r\nce-sequence: ")
            writer.write(sequence)
        }
        writer.write("\r\nce-time: ")
        Timestamp.write(unixMilliseconds: unixMilliseconds, with: &writer)
        if let label {
            writer.write("\r\nce-messagetype: ")
            writer.write(percentEncoding: label.type)
            if let id = label.id {
                writer.write("\r\nce-messageid: ")
                writer.write(percentEncoding: id)
            }
        }
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
        case .detached: "sidesocket.detached"
        case .resumed: "sidesocket.resumed"
        case .close: "sidesocket.close"
        }
    }
}

extension MessageFormat {
    /// The media type in which the app gets a message of a client.
    var contentType: StaticString {
        switch self {
        case .text: "text/plain; charset=utf-8"
        case .json: "application/json"
        case .binary: "application/octet-stream"
        case .messagePack: "application/msgpack"
        }
    }
}
