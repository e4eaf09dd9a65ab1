import HTTP1
import NIOCore
import SidecarCore

@testable import SidecarServer

/// Stands for the connections to the app: it records the calls, and the test says what comes of each.
final class FakeApp: AppCaller {
    struct Call {
        let address: Int
        let exchange: any AppExchange
        let fresh: Bool
    }

    private let addressCount: Int
    private(set) var calls: [Call] = []
    /// What it was called for so far, attempts at the same event included.
    private(set) var heard: [String] = []
    /// The exchanges so far.
    private(set) var traces = Traces()

    init(addresses: Int = 1) {
        addressCount = addresses
    }

    func call(_ address: Int, for exchange: any AppExchange, fresh: Bool) -> Bool {
        guard address < addressCount else { return false }
        calls.append(Call(address: address, exchange: exchange, fresh: fresh))
        heard.append(Self.words(for: exchange))
        traces.follow(exchange)
        return true
    }

    /// The event that it was called for longest ago and has not answered; nil when there is none.
    var asked: String? { calls.first.map { Self.words(for: $0.exchange) } }

    private static func words(for exchange: any AppExchange) -> String {
        guard let delivery = exchange as? ConnectionEventDelivery else { return "\(type(of: exchange))" }
        return switch delivery.event.event {
        case .open: "open"
        case .message(_, let payload, _): "message \(String(buffer: payload))"
        case .batch(let messages): "messages \(messages.map { String(buffer: $0.payload) }.joined(separator: ", "))"
        case .revalidate: "revalidate"
        case .detached: "detached"
        case .resumed: "resumed"
        case .close(let report): "close \(report.code) by \(report.initiator.rawValue)"
        }
    }

    /// Takes the oldest call that has no answer.
    private func next() throws -> Call {
        guard !calls.isEmpty else { throw NoCall() }
        return calls.removeFirst()
    }

    struct NoCall: Error {}

    /// Answers the oldest call.
    func answer(_ status: Int, _ fields: String = "", body: String = "") throws {
        let call = try next()
        var reader = HTTPReplyReader(limits: HTTPLimits(maxHeadBytes: 4096, maxHeaders: 20))
        reader.expectReply(to: .other)
        var bytes = ByteBuffer(
            string: "HTTP/1.1 \(status) X\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
        )
        reader.append(&bytes)
        while let part = try reader.next() { call.exchange.appReplied(part) }
    }

    /// Lets the oldest call fail.
    func fail(_ failure: DeliveryFailure, wasStale: Bool = false) throws {
        try next().exchange.appFailed(failure, wasStale: wasStale)
    }
}
