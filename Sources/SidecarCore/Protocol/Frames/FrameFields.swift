import NIOCore

/// The members of a client's frame: where each value lies in what came. Nothing is copied, and only what the type of the
/// frame needs is read.
struct FrameFields {
    /// The members that mean something.
    enum Name: Int, CaseIterable {
        case type, id, payload, seq, channel, token, channels, session

        var text: StaticString {
            switch self {
            case .type: "type"
            case .id: "id"
            case .payload: "payload"
            case .seq: "seq"
            case .channel: "channel"
            case .token: "token"
            case .channels: "channels"
            case .session: "session"
            }
        }

        init?(_ name: UnsafeRawBufferPointer) {
            guard let found = Self.allCases.first(where: { $0.text.isEqual(to: name) }) else { return nil }
            self = found
        }
    }

    let message: ByteBuffer
    let encoding: ProtocolEncoding
    /// Where the values are, as offsets into the message.
    private var ranges = Ranges()
    /// The first thing that is wrong with a frame that is well-formed.
    private var fault: String?
    private var count = 0

    init(_ message: ByteBuffer, in encoding: ProtocolEncoding) {
        self.message = message
        self.encoding = encoding
    }

    /// A range for each name, without an allocation.
    private struct Ranges {
        private typealias Range = Swift.Range<Int>
        private var inOrder: (Range?, Range?, Range?, Range?, Range?, Range?, Range?, Range?) = (
            nil, nil, nil, nil, nil, nil, nil, nil
        )

        subscript(_ name: Name) -> Swift.Range<Int>? {
            get {
                switch name {
                case .type: inOrder.0
                case .id: inOrder.1
                case .payload: inOrder.2
                case .seq: inOrder.3
                case .channel: inOrder.4
                case .token: inOrder.5
                case .channels: inOrder.6
                case .session: inOrder.7
                }
            }
            set {
                switch name {
                case .type: inOrder.0 = newValue
                case .id: inOrder.1 = newValue
                case .payload: inOrder.2 = newValue
                case .seq: inOrder.3 = newValue
                case .channel: inOrder.4 = newValue
                case .token: inOrder.5 = newValue
                case .channels: inOrder.6 = newValue
                case .session: inOrder.7 = newValue
                }
            }
        }
    }

    // MARK: Scanning

    private enum ScanFault: Error {
        case malformed
        case tooDeep
    }

    /// Adds a member; names that mean nothing are ignored, whatever their values are.
    private mutating func add(_ name: Name?, at range: Range<Int>) {
        count += 1
        if count > ClientFrame.maxMembers { note("a frame has at most \(ClientFrame.maxMembers) members") }
        guard let name else { return }
        if ranges[name] != nil { note("a member appears twice") }
        ranges[name] = range
    }

    private mutating func note(_ fault: String) { if self.fault == nil { self.fault = fault } }

    mutating func scanJSON() throws(ClientFrameFault) {
        do throws(ScanFault) { try scanMembersOfJSON() } catch {
            try handle(error, "a frame must be a well-formed JSON object")
        }
    }

    private mutating func scanMembersOfJSON() throws(ScanFault) {
        let result: Result<Void, ScanFault> = message.withUnsafeReadableBytes { bytes in
            var reader = JSONReader(bytes)
            do throws(JSONReader.Fault) {
                try reader.expect("{")
                if !reader.take("}") {
                    repeat {
                        let name = try reader.name()
                        if name.utf8.count > ClientFrame.maxNameBytes { note("the name of a member is too long") }
                        let range = try reader.valueRange(maxDepth: ClientFrame.maxDepth)
                        add(Name(name), at: range)
                    } while reader.take(",")
                    try reader.expect("}")
                }
                guard reader.isAtEnd() else { return .failure(.malformed) }
                return .success(())
            } catch {
                return .failure(error == .tooDeep ? .tooDeep : .malformed)
            }
        }
        try result.get()
    }

    mutating func scanMessagePack() throws(ClientFrameFault) {
        do throws(ScanFault) {
            try scanMembersOfMessagePack()
        } catch {
            try handle(error, "a frame must be a well-formed MessagePack map")
        }
    }

    private mutating func scanMembersOfMessagePack() throws(ScanFault) {
        let result: Result<Void, ScanFault> = message.withUnsafeReadableBytes { bytes in
            var reader = MessagePackReader(bytes)
            do throws(MessagePackReader.Fault) {
                for _ in 0..<(try reader.mapCount()) {
                    let name = try reader.valueRange(maxDepth: ClientFrame.maxDepth)
                    let text = MessagePackReader.text(in: UnsafeRawBufferPointer(rebasing: bytes[name]))
                    if text == nil { note("the names of members must be strings") }
                    if text?.count ?? 0 > ClientFrame.maxNameBytes { note("the name of a member is too long") }
                    add(text.flatMap { Name($0) }, at: try reader.valueRange(maxDepth: ClientFrame.maxDepth))
                }
                guard reader.isAtEnd else { return .failure(.malformed) }
                return .success(())
            } catch {
                return .failure(error == .tooDeep ? .tooDeep : .malformed)
            }
        }
        try result.get()
    }

    /// What lies too deep is not read to its end, so a later `id` is not found.
    private func handle(_ fault: ScanFault, _ rule: String) throws(ClientFrameFault) {
        switch fault {
        case .malformed: throw .notAFrame(rule)
        case .tooDeep:
            throw .badFrame(
                id: try? identifier(),
                message: "arrays and objects lie at most \(ClientFrame.maxDepth) deep in one another"
            )
        }
    }

    // MARK: Reading

    private struct FieldFault: Error {
        let message: String
    }

    /// What the members say.
    func frame() throws(ClientFrameFault) -> ClientFrame {
        var id: String?
        do throws(FieldFault) {
            id = try identifier()
            if let fault { throw FieldFault(message: fault) }
            return try frame(id: id)
        } catch {
            throw .badFrame(id: id, message: error.message)
        }
    }

    private func frame(id: String?) throws(FieldFault) -> ClientFrame {
        guard let type = try text(.type) else { throw FieldFault(message: "a frame must have a type") }
        guard FrameType.isValid(type) else {
            throw FieldFault(message: "a type must be 1 to \(FrameType.maxBytes) printable ASCII characters")
        }
        switch type {
        case "$ack":
            guard let seq = try number(.seq) else { throw FieldFault(message: "$ack must have a seq") }
            return .acknowledge(seq)
        case "$resume":
            return .resume(
                ResumeRequest(
                    seq: try number(.seq) ?? 0,
                    channels: try positions() ?? [:],
                    session: try text(.session)
                )
            )
        case "$ping": return .ping
        case "$pong": return .pong
        case "$close": return .close
        case "$token":
            guard let token = try text(.token) else { throw FieldFault(message: "$token must have a token") }
            return .token(token, id: id)
        case _ where FrameType.isClientEvent(type): return .clientEvent(try clientEvent(type, id: id))
        case _ where type.hasPrefix("$"): throw FieldFault(message: "this type is not one that a client may send")
        default:
            let (format, payload) = payload()
            return .message(MessageLabel(type: type, id: id), format, payload)
        }
    }

    private func clientEvent(_ type: String, id: String?) throws(FieldFault) -> ClientEvent {
        guard let channel = try text(.channel).flatMap({ ChannelName($0) }) else {
            throw FieldFault(message: "a client event must have the name of a channel")
        }
        let (format, payload) = payload()
        return ClientEvent(type: type, id: id, channel: channel, format: format, payload: payload)
    }

    private func identifier() throws(FieldFault) -> String? {
        guard let id = try text(.id) else { return nil }
        guard (1...ClientFrame.maxIDBytes).contains(id.utf8.count), id.utf8.allSatisfy({ 0x20...0x7E ~= $0 }) else {
            throw FieldFault(message: "an id must be 1 to \(ClientFrame.maxIDBytes) printable ASCII characters")
        }
        return id
    }

    /// The positions of a `$resume`, if it has any.
    private func positions() throws(FieldFault) -> [ChannelName: ResumeRequest.Position]? {
        guard let value = slice(.channels) else { return nil }
        let found: [ChannelName: ResumeRequest.Position]? = value.withUnsafeReadableBytes { bytes in
            switch encoding {
            case .json: try? PositionsReader.json(bytes)
            case .messagePack: try? PositionsReader.messagePack(bytes)
            }
        }
        guard let found else {
            throw FieldFault(
                message: "channels must be an object whose members have an offset, an epoch and an id each"
            )
        }
        return found
    }

    /// The payload as it stands in the frame; without one it is `null`.
    private func payload() -> (MessageFormat, ByteBuffer) {
        switch encoding {
        case .json:
            return (.json, slice(.payload).map(compact) ?? ByteBuffer(string: "null"))
        case .messagePack:
            guard let value = slice(.payload) else { return (.messagePack, ByteBuffer(bytes: [0xC0])) }
            if let bytes = value.withUnsafeReadableBytes({ MessagePackReader.bytes(in: $0) }) {
                return (.binary, value.getSlice(at: value.readerIndex + bytes.lowerBound, length: bytes.count) ?? value)
            }
            return (.messagePack, compact(value))
        }
    }

    /// A payload that waits must not keep a frame that is mostly something else.
    private func compact(_ payload: ByteBuffer) -> ByteBuffer {
        guard message.readableBytes > 1024, payload.readableBytes < message.readableBytes / 2 else { return payload }
        return ByteBuffer(bytes: payload.readableBytesView)
    }

    private func slice(_ name: Name) -> ByteBuffer? {
        guard let range = ranges[name] else { return nil }
        return message.getSlice(at: message.readerIndex + range.lowerBound, length: range.count)
    }

    /// A member that must be a string, if it is there and is not null.
    private func text(_ name: Name) throws(FieldFault) -> String? {
        guard let value = slice(name) else { return nil }
        let found: (isNull: Bool, text: String?) = value.withUnsafeReadableBytes { bytes in
            switch encoding {
            case .json:
                var reader = JSONReader(bytes)
                return reader.takeWord("null") ? (true, nil) : (false, try? reader.string())
            case .messagePack:
                if bytes.first == 0xC0 { return (true, nil) }
                return (false, MessagePackReader.text(in: bytes).flatMap { String(validating: $0, as: UTF8.self) })
            }
        }
        if found.isNull { return nil }
        guard let text = found.text else { throw FieldFault(message: "\(name.text) must be a string") }
        return text
    }

    /// A member that must be a whole number, if it is there.
    private func number(_ name: Name) throws(FieldFault) -> UInt64? {
        guard let value = slice(name) else { return nil }
        let number: UInt64? = value.withUnsafeReadableBytes { bytes in
            switch encoding {
            case .json:
                var reader = JSONReader(bytes)
                return (try? reader.integer()).flatMap { reader.isAtEnd() ? UInt64(exactly: $0) : nil }
            case .messagePack: return MessagePackReader.unsigned(in: bytes)
            }
        }
        guard let number, number <= Self.maxNumber else {
            throw FieldFault(message: "\(name.text) must be a whole number from 0 to 2^53")
        }
        return number
    }

    /// The largest whole number that every client can represent exactly.
    private static let maxNumber: UInt64 = 1 << 53
}

extension FrameFields.Name {
    fileprivate init?(_ name: String) {
        var name = name
        guard let found = name.withUTF8({ Self(UnsafeRawBufferPointer($0)) }) else { return nil }
        self = found
    }
}

extension StaticString {
    fileprivate func isEqual(to bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.elementsEqual(UnsafeBufferPointer(start: utf8Start, count: utf8CodeUnitCount))
    }
}
