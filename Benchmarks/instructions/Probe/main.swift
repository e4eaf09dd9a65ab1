import HTTP1
import NIOCore
import SidecarCore
import WebSocketProtocol

// Does one piece of the work on a message again and again, so that its instructions can be counted: see ../README.md.
//
//   instruction-probe SCENARIO COUNT

let payload = ByteBuffer(repeating: UInt8(ascii: "x"), count: 64)

/// A message of 64 bytes is read off its masked frame, and one is framed.
func frames(_ count: Int) throws {
    var masked = ByteBuffer()
    masked.writeBytes([0x81, 0x80 | 64, 0x11, 0x22, 0x33, 0x44])
    let key: [UInt8] = [0x11, 0x22, 0x33, 0x44]
    for (index, byte) in payload.readableBytesView.enumerated() { masked.writeInteger(byte ^ key[index & 3]) }
    var reader = MessageReader(limits: MessageLimits(maxMessageBytes: 1 << 20, maxFragments: 100))
    var out = ByteBuffer()
    for _ in 0..<count {
        var bytes = ByteBuffer(bytes: masked.readableBytesView)
        guard case .message(.text, let message) = try reader.next(from: &bytes), message == payload else {
            throw Wrong()
        }
        out.clear()
        FrameEncoder.write(.text, payload: message, into: &out)
    }
}

/// The app's answer to an event is read, head and body.
func replies(_ count: Int) throws {
    let answer = ByteBuffer(
        string: "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
            + "Date: Sat, 28 Nov 2026 10:00:00 GMT\r\nServer: example\r\nX-Request-Id: 0123456789abcdef\r\nContent-Length: 64\r\n\r\n"
            + String(buffer: payload)
    )
    // As the server holds it.
    let dialect: any WebhookDialect = CloudEventsDialect(
        nodeName: "node",
        authority: "app",
        preserveHost: false,
        webhookPath: nil,
        forwardedHeaders: []
    )
    var reader = HTTPReplyReader(limits: HTTPLimits(maxHeadBytes: 64 << 10, maxHeaders: 200))
    for _ in 0..<count {
        reader.expectReply(to: .other)
        var bytes = ByteBuffer(bytes: answer.readableBytesView)
        reader.append(&bytes)
        guard case .head(let head) = try reader.next(), case .body(let body) = try reader.next(),
            case .end = try reader.next(),
            case .message(.text, payload) = try dialect.decode(head, body, events: 1).output
        else { throw Wrong() }
    }
}

/// A client's request is read.
func requests(_ count: Int) throws {
    let request = ByteBuffer(
        string: "GET /articles/2026?page=2 HTTP/1.1\r\nHost: shop.example\r\n"
            + "User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
            + "Accept: text/html,application/xhtml+xml\r\nAccept-Language: en\r\nAccept-Encoding: gzip, br\r\n"
            + "Cookie: session=0123456789abcdef0123456789abcdef\r\nConnection: keep-alive\r\n\r\n"
    )
    var reader = HTTPRequestReader(limits: HTTPLimits(maxHeadBytes: 16 << 10, maxHeaders: 100))
    for _ in 0..<count {
        var bytes = ByteBuffer(bytes: request.readableBytesView)
        reader.append(&bytes)
        guard case .head(let head) = try reader.next(), head.method == "GET", case .end = try reader.next() else {
            throw Wrong()
        }
    }
}

/// A message is counted against the rates of its connection, its address and its user.
func limits(_ count: Int) throws {
    let rate = GCRA(Rate(1_000_000, per: .seconds(1), burst: 1_000_000))
    var allowance = MessageAllowance(perConnection: rate, bytes: nil, dryRun: [])
    allowance.share(withAddress: SharedBucket(rate))
    allowance.share(withUser: SharedBucket(rate))
    let handshakes = RateLimitTable(rate, seed: (1, 2))
    var now: Int64 = 1_000_000_000
    for number in 0..<count {
        now += 1_000_000
        guard allowance.takeInDebt(payloadBytes: 64, now: now, overstepped: { _ in }) == nil,
            case .allowed = handshakes.take(AddressKey(high: 0, low: UInt64(number % 200)), now: now)
        else { throw Wrong() }
    }
}

struct Wrong: Error {}

let scenarios = ["frames": frames, "replies": replies, "requests": requests, "limits": limits]
let arguments = CommandLine.arguments
guard arguments.count == 3, let scenario = scenarios[arguments[1]], let count = Int(arguments[2]) else {
    print("usage: instruction-probe \(scenarios.keys.sorted().joined(separator: "|")) COUNT")
    throw Wrong()
}
try scenario(count)
