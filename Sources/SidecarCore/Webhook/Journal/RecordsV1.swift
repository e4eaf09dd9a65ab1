import HTTP1
import NIOCore

/// Version 1 of the outbox's records, which stored parts of the requests themselves: CloudEvents header lines in the
/// order in which they were sent, and the JSON of a close event.
extension WebhookConnection {
    /// Reads the request line and the fields that all requests of the connection began with.
    init(version1 head: [UInt8], id: String) throws(JournalFault) {
        var lines = LinesV1(head)
        let start = try lines.next()
        let (method, version) = ("POST ".utf8, " HTTP/1.1".utf8)
        guard start.starts(with: method), start.count >= method.count + version.count,
            start.suffix(version.count).elementsEqual(version)
        else { throw .malformed }
        self.id = id
        target = try LinesV1.text(start.dropFirst(method.count).dropLast(version.count))
        host = try LinesV1.text(try lines.value("Host"))
        guard try lines.value("ce-specversion").elementsEqual("1.0".utf8) else { throw .malformed }
        let source = PercentEncoding.bytes(try lines.value("ce-source"))
        let prefix = "/sidesocket/".utf8
        guard source.starts(with: prefix) else { throw .malformed }
        node = try LinesV1.text(source[prefix.count...])
        subject = try LinesV1.text(PercentEncoding.bytes(try lines.value("ce-subject"))[...])
        guard try lines.value("ce-connectionid").elementsEqual(id.utf8) else { throw .malformed }
        let transport = lines.takeValue("ce-transport")
        guard transport?.elementsEqual("sse".utf8) ?? true else { throw .malformed }
        transportKind = transport == nil ? .webSocket : .eventStream
        forwarding = ForwardingFields(
            addresses: try LinesV1.text(try lines.value("X-Forwarded-For")),
            scheme: try LinesV1.text(try lines.value("X-Forwarded-Proto")),
            host: try LinesV1.text(try lines.value("X-Forwarded-Host")),
            named: nil
        )
        for header in ClientIPHeader.allCases where forwarding.named == nil {
            guard let address = lines.takeValue(header.rawValue) else { continue }
            forwarding.named = ForwardingFields.NamedAddress(header: header, address: try LinesV1.text(address))
        }
        fields = []
        while !lines.isAtEnd {
            let (name, value) = try lines.field()
            fields.append(Field(name: Array(name), value: Array(value)))
        }
    }
}

extension ConnectionIdentity {
    /// Reads the fields that said who the client was.
    init(version1 fields: [UInt8]) throws(JournalFault) {
        self.init()
        var lines = LinesV1(fields)
        while !lines.isAtEnd {
            let (name, value) = try lines.field()
            let text = try LinesV1.text(PercentEncoding.bytes(value)[...])
            if name.elementsEqual("ce-userid".utf8), user == nil {
                user = UserName(text)
            } else if name.elementsEqual("ce-connectionstate".utf8), state == nil {
                state = text
            } else {
                guard name.starts(with: "ce-".utf8) else { throw .malformed }
                claims.append(Claim(name: try LinesV1.text(name.dropFirst(3)), value: text))
            }
        }
    }
}

extension CloseReport {
    /// Reads the body of the close event.
    init(version1 body: [UInt8]) throws(JournalFault) {
        guard let report = CloseReport(json: ByteBuffer(bytes: body)) else { throw .malformed }
        self = report
    }
}

/// Splits header lines, each `name: value CRLF`.
private struct LinesV1 {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) {
        rest = bytes[...]
    }

    var isAtEnd: Bool { rest.isEmpty }

    /// The next line without its end.
    mutating func next() throws(JournalFault) -> ArraySlice<UInt8> {
        guard let end = rest.firstIndex(of: 0x0A), end > rest.startIndex, rest[end - 1] == 0x0D else {
            throw .malformed
        }
        let line = rest[..<(end - 1)]
        rest = rest[(end + 1)...]
        return line
    }

    /// The next field.
    mutating func field() throws(JournalFault) -> (name: ArraySlice<UInt8>, value: ArraySlice<UInt8>) {
        let line = try next()
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), line[colon...].starts(with: ": ".utf8) else {
            throw .malformed
        }
        return (line[..<colon], line[(colon + 2)...])
    }

    /// The value of the next field if it has this name.
    mutating func takeValue(_ name: String) -> ArraySlice<UInt8>? {
        let before = rest
        if let field = try? field(), field.name.elementsEqual(name.utf8) { return field.value }
        rest = before
        return nil
    }

    /// The value of the next field, which must have this name.
    mutating func value(_ name: String) throws(JournalFault) -> ArraySlice<UInt8> {
        guard let value = takeValue(name) else { throw .malformed }
        return value
    }

    static func text(_ bytes: ArraySlice<UInt8>) throws(JournalFault) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .malformed }
        return text
    }
}
