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

    init(addresses: Int = 1) {
        addressCount = addresses
    }

    func call(_ address: Int, for exchange: any AppExchange, fresh: Bool) -> Bool {
        guard address < addressCount else { return false }
        calls.append(Call(address: address, exchange: exchange, fresh: fresh))
        return true
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
