import HTTP1
import NIOCore
import SidecarCore

/// One request for a key set.
final class KeySetRequest: AppExchange {
    static let timeout = TimeAmount.seconds(10)
    static let maxBytes = 256 << 10

    struct Fault: Error { let sentence: String }

    private let path: String
    private let authority: String
    private let completed: (KeySetRequest, Result<[UInt8], Fault>) -> Void
    private let deadline = NIODeadline.now() + KeySetRequest.timeout
    private var connection: AppConnection?
    private var reply = ReplyCollector()
    /// True when the reply is no longer awaited.
    var isCancelled = false

    init(path: String, authority: String, completed: @escaping (KeySetRequest, Result<[UInt8], Fault>) -> Void) {
        self.path = path
        self.authority = authority
        self.completed = completed
    }

    func appReady(_ connection: AppConnection) {
        self.connection = connection
        connection.expectReply(to: .other, by: deadline)
        connection.sendWhole(
            ByteBuffer(
                get: path,
                authority: authority,
                userAgent: "sidesocket",
                accept: "application/jwk-set+json, application/json"
            )
        )
    }

    func appReplied(_ part: HTTPReplyPart) {
        switch reply.take(part, limit: Self.maxBytes) {
        case .incomplete: break
        case .tooLarge:
            connection?.abort()
            end(.failure(Fault(sentence: "It is larger than \(Self.maxBytes) bytes.")))
        case .complete(let head, let body):
            // A redirect is not followed, since it may lead anywhere; the new address belongs in the settings.
            guard head.status == 200 else {
                return end(.failure(Fault(sentence: "The response has status \(head.status).")))
            }
            end(.success(Array(body.readableBytesView)))
        }
    }

    func appFailed(_ failure: DeliveryFailure, wasStale: Bool) {
        end(.failure(Fault(sentence: failure.sentence(about: "issuer"))))
    }
    func appWritabilityChanged(isWritable: Bool) {}
    func appReadComplete() {}

    private func end(_ answer: Result<[UInt8], Fault>) {
        connection = nil
        guard !isCancelled else { return }
        completed(self, answer)
    }
}
