public import NIOCore

/// The body of a POST of the client protocol over HTTP.
///
/// ```json
/// {"resume": TOKEN, "key": RANDOM, "n": 1, "seq": 0, "channels": {…}, "session": ID, "send": [FRAME, …]}
/// ```
/// Members that mean nothing are ignored.
public struct ProtocolPost: Sendable {
    /// Whose POST it is.
    public enum Sender: Sendable, Equatable {
        /// A new client's.
        case new
        /// One that offers positions of an earlier session: its token cannot be one, or it has none.
        case positions
        /// That of a session.
        case session(ResumeToken)
    }

    /// Why a body is none; the text ends the sentence "The body …".
    public struct Fault: Error, Equatable {
        /// What is wrong, for the developer of the client.
        public let what: String
    }

    /// The longest `key`, in bytes.
    public static let maxKeyBytes = 128

    /// Whose it is.
    public let sender: Sender
    /// What identifies the first POST of a client, so that its repeat opens no second session.
    public let key: String?
    /// The number of the POST in its session, from 1.
    public let number: UInt64
    /// What the client has got; counts in a first POST, and where a stream is opened again.
    public let position: ResumeRequest
    /// What the client sends, each as it stands in the body.
    public var frames: [ByteBuffer]

    /// Reads a body.
    public init(body: ByteBuffer) throws(Fault) {
        guard body.isValidUTF8 else { throw Fault(what: "is not UTF-8") }
        let read: Result<ProtocolPost, Fault> = body.withUnsafeReadableBytes { bytes in
            var fields = Fields(body)
            do throws(JSONReader.Fault) {
                try fields.scan(bytes)
                return .success(try fields.post())
            } catch {
                return .failure(
                    Fault(
                        what: fields.fault ?? "must be a well-formed JSON object, at most \(ClientFrame.maxDepth) deep"
                    )
                )
            }
        }
        self = try read.get()
    }

    fileprivate init(
        sender: Sender,
        key: String?,
        number: UInt64,
        position: ResumeRequest,
        frames: [ByteBuffer]
    ) {
        self.sender = sender
        self.key = key
        self.number = number
        self.position = position
        self.frames = frames
    }
}

/// The members of a body, as they come.
private struct Fields {
    /// The largest whole number that every client can represent exactly.
    private static let maxNumber = 1 << 53

    let body: ByteBuffer
    /// What is wrong with a body that is JSON.
    private(set) var fault: String?
    private var seen: Set<String> = []
    private var token: String?
    private var key: String?
    private var number: UInt64?
    private var seq: UInt64?
    private var channels: PositionsReader.Positions?
    private var session: String?
    private var frames: [ByteBuffer] = []

    init(_ body: ByteBuffer) {
        self.body = body
    }

    mutating func scan(_ bytes: UnsafeRawBufferPointer) throws(JSONReader.Fault) {
        var reader = JSONReader(bytes)
        try reader.expect("{")
        if !reader.take("}") {
            repeat { try member(&reader, bytes) } while reader.take(",")
            try reader.expect("}")
        }
        guard reader.isAtEnd() else { throw .malformed }
    }

    private mutating func member(_ reader: inout JSONReader, _ bytes: UnsafeRawBufferPointer) throws(JSONReader.Fault) {
        let name = try reader.name()
        guard ["resume", "key", "n", "seq", "channels", "session", "send"].contains(name) else {
            return try reader.skipValue(maxDepth: ClientFrame.maxDepth)
        }
        guard seen.insert(name).inserted else { throw wrong("has \(name) twice") }
        if reader.takeWord("null") { return }
        let value = try reader.valueRange(maxDepth: ClientFrame.maxDepth)
        var own = JSONReader(UnsafeRawBufferPointer(rebasing: bytes[value]))
        switch name {
        case "resume": token = try text(&own, name)
        case "session": session = try text(&own, name)
        case "key": key = try text(&own, name)
        case "n": number = try number(&own, name)
        case "seq": seq = try number(&own, name)
        case "channels":
            guard let read = try? PositionsReader.json(UnsafeRawBufferPointer(rebasing: bytes[value])) else {
                throw wrong("must have channels whose members have an offset, an epoch and an id each")
            }
            channels = read
        default: try readFrames(&own, from: value.lowerBound)
        }
    }

    private mutating func readFrames(_ reader: inout JSONReader, from start: Int) throws(JSONReader.Fault) {
        guard reader.take("[") else { throw wrong("must have an array of frames as send") }
        if reader.take("]") { return }
        repeat {
            let range = try reader.valueRange(maxDepth: ClientFrame.maxDepth)
            let frame = body.getSlice(at: body.readerIndex + start + range.lowerBound, length: range.count)
            if let frame { frames.append(frame) }
        } while reader.take(",")
    }

    private mutating func text(_ reader: inout JSONReader, _ name: String) throws(JSONReader.Fault) -> String {
        do throws(JSONReader.Fault) { return try reader.string() } catch {
            throw wrong("must have a string as \(name)")
        }
    }

    private mutating func number(_ reader: inout JSONReader, _ name: String) throws(JSONReader.Fault) -> UInt64 {
        guard let number = try? reader.integer(), reader.isAtEnd(), (0...Self.maxNumber).contains(number) else {
            throw wrong("must have a whole number from 0 to 2^53 as \(name)")
        }
        return UInt64(number)
    }

    private mutating func wrong(_ what: String) -> JSONReader.Fault {
        fault = what
        return .wrongType
    }

    mutating func post() throws(JSONReader.Fault) -> ProtocolPost {
        guard let number, number > 0 else { throw wrong("must have n, the number of the POST, from 1") }
        if let key, !(1...ProtocolPost.maxKeyBytes).contains(key.utf8.count) {
            throw wrong("must have a key of 1 to \(ProtocolPost.maxKeyBytes) bytes")
        }
        let hasPosition = seq != nil || channels != nil || session != nil
        let sender: ProtocolPost.Sender =
            token.map { ResumeToken($0).map { .session($0) } ?? .positions } ?? (hasPosition ? .positions : .new)
        if number > 1, token == nil { throw wrong("must have the token as resume when n is above 1") }
        // Frames that wait must not keep what else was in the body.
        if frames.reduce(0, { $0 + $1.readableBytes }) < body.readableBytes / 2 {
            frames = frames.map { ByteBuffer(bytes: $0.readableBytesView) }
        }
        return ProtocolPost(
            sender: sender,
            key: key,
            number: number,
            position: ResumeRequest(seq: seq ?? 0, channels: channels ?? [:], session: session),
            frames: frames
        )
    }
}
