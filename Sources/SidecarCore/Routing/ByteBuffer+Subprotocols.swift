import NIOCore

extension ByteBuffer {
    /// Appends the `Sec-WebSocket-Protocol` field that the app gets, without what is between the client and Sidesocket and
    /// may be a token; nothing when nothing is left.
    mutating func writeOfferedSubprotocols(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        let offered = String(decoding: value, as: UTF8.self).split(separator: ",")
            .map { $0.drop { $0 == " " || $0 == "\t" } }
        let shown = offered.filter { !ProtocolOffer.isReserved($0) }
        if shown.count == offered.count { return writeField(name, value) }
        if !shown.isEmpty { writeField("Sec-WebSocket-Protocol", shown.joined(separator: ", ")) }
    }
}
