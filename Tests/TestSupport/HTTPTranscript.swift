package import HTTP1
package import NIOCore

/// How the bytes of a test reach a reader.
package enum HTTPDelivery {
    case whole
    case eachByte
    case splitAt(Int)

    package func pieces(of bytes: [UInt8]) -> [ArraySlice<UInt8>] {
        switch self {
        case .whole: [bytes[...]]
        case .eachByte: bytes.indices.map { bytes[$0...$0] }
        case .splitAt(let index): [bytes[..<index], bytes[index...]]
        }
    }
}

/// What a reader said, one line per step, with the pieces of a body joined: two deliveries of the same bytes must say
/// the same.
package struct HTTPTranscript: Equatable, CustomStringConvertible {
    package private(set) var lines: [String] = []
    package private(set) var error: HTTPParseError?
    /// Says whether the reader waits for nothing: no request has begun that is not complete.
    package var isIdle = false
    private var body: [UInt8] = []

    package var description: String { lines.joined(separator: "\n") }

    package mutating func add(_ line: String) {
        flush()
        lines.append(line)
    }

    package mutating func add(body bytes: ByteBuffer) {
        body.append(contentsOf: bytes.readableBytesView)
    }

    package mutating func add(error: HTTPParseError) {
        add("error \(error.status) \(error.sentence)")
        self.error = error
    }

    package mutating func add(_ headers: HTTPHeaders) {
        headers.forEach { name, value in
            add("  \(String(decoding: name, as: UTF8.self)): \(String(decoding: value, as: UTF8.self))")
        }
    }

    package mutating func add(end trailers: HTTPHeaders?) {
        add(trailers == nil ? "end" : "end with trailers")
        if let trailers { add(trailers) }
    }

    package mutating func flush() {
        if !body.isEmpty { lines.append("body \(String(decoding: body, as: UTF8.self))") }
        body = []
    }
}

/// Reads all requests of a connection.
package func requestTranscript(
    _ bytes: [UInt8],
    _ delivery: HTTPDelivery = .whole,
    limits: HTTPLimits = HTTPLimits()
) -> HTTPTranscript {
    var reader = HTTPRequestReader(limits: limits)
    var transcript = HTTPTranscript()
    for piece in delivery.pieces(of: bytes) {
        var buffer = ByteBuffer(bytes: piece)
        reader.append(&buffer)
        do throws(HTTPParseError) {
            while let part = try reader.next() {
                switch part {
                case .head(let head):
                    transcript.add(
                        "\(head.method) \(head.target) 1.\(head.minorVersion) \(head.targetForm) \(head.framing)"
                            + (head.keepAlive ? " keep" : " close") + (head.expectsContinue ? " continue" : "")
                    )
                    transcript.add(head.headers)
                case .body(let bytes): transcript.add(body: bytes)
                case .end(let trailers): transcript.add(end: trailers)
                }
            }
        } catch {
            transcript.add(error: error)
            return transcript
        }
    }
    transcript.flush()
    transcript.isIdle = !reader.hasStartedRequest
    return transcript
}

/// Reads one reply, then whatever comes behind it, then the end of the connection.
///
/// - Parameter takesWhole: Asks for the body in one piece where it is all there.
package func replyTranscript(
    _ bytes: [UInt8],
    _ delivery: HTTPDelivery = .whole,
    to method: HTTPMethodKind = .other,
    limits: HTTPLimits = HTTPLimits(),
    endOfInput: Bool = true,
    takesWhole: Bool = false
) -> HTTPTranscript {
    var reader = HTTPReplyReader(limits: limits)
    var transcript = HTTPTranscript()
    reader.expectReply(to: method)
    do throws(HTTPParseError) {
        for piece in delivery.pieces(of: bytes) {
            var buffer = ByteBuffer(bytes: piece)
            reader.append(&buffer)
            while let part = try reader.next() {
                transcript.add(part)
                guard takesWhole, case .head = part, let body = reader.takeWholeBody() else { continue }
                if body.readableBytes > 0 { transcript.add(body: body) }
                transcript.add(.end(trailers: nil))
            }
        }
        while endOfInput, let part = try reader.endOfInput() { transcript.add(part) }
    } catch {
        transcript.add(error: error)
    }
    transcript.flush()
    return transcript
}

extension HTTPTranscript {
    fileprivate mutating func add(_ part: HTTPReplyPart) {
        switch part {
        case .informational(let head): add("informational", head)
        case .head(let head): add("final", head)
        case .body(let bytes): add(body: bytes)
        case .end(let trailers): add(end: trailers)
        }
    }

    private mutating func add(_ kind: String, _ head: HTTPReplyHead) {
        add(
            "\(kind) \(head.status) [\(head.reason)] 1.\(head.minorVersion) \(head.framing)"
                + (head.keepAlive ? " keep" : " close")
        )
        add(head.headers)
    }
}

/// The same bytes whole, byte by byte and split at each byte: returns the deliveries that said something else.
package func httpDeliveriesThatDiffer(_ count: Int, _ transcript: (HTTPDelivery) -> HTTPTranscript) -> [String] {
    let whole = transcript(.whole)
    var different: [String] = []
    if transcript(.eachByte) != whole { different.append("each byte: \(transcript(.eachByte))") }
    for index in 0...count where transcript(.splitAt(index)) != whole {
        different.append("split at \(index): \(transcript(.splitAt(index)))")
    }
    return different
}

package func httpBytes(_ text: String) -> [UInt8] { Array(text.utf8) }
