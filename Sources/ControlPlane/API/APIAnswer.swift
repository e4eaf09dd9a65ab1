internal import DequeModule
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore
internal import SidecarCore
internal import Synchronization

/// Why a request to the API is not carried out.
struct APIFault: ProblemError {
    let status: HTTPResponse.Status
    let detail: String
    var outcome = AuditRecord.Outcome.notFound
    var retryAfter: Int?

    static let noConnection = APIFault(status: .notFound, detail: "There is no such connection.")
    static let noBan = APIFault(status: .notFound, detail: "There is no such ban.")
    static let tooLarge = APIFault(
        status: .contentTooLarge,
        detail: "The body is too large.",
        outcome: .badRequest
    )
    static func badRequest(_ detail: String) -> APIFault {
        APIFault(status: .badRequest, detail: detail, outcome: .badRequest)
    }

    init(status: HTTPResponse.Status, detail: String, outcome: AuditRecord.Outcome = .notFound, retryAfter: Int? = nil)
    {
        self.status = status
        self.detail = detail
        self.outcome = outcome
        self.retryAfter = retryAfter
    }
}

extension APIFault {
    /// A body that is of no use.
    init(_ fault: BodyFault) {
        let status: HTTPResponse.Status = fault.isOfType ? .unsupportedMediaType : .badRequest
        self.init(status: status, detail: fault.sentence, outcome: .badRequest)
    }
}

/// Reads the parts of a request to the API.
enum APIPath {
    static func parameter(_ name: String, _ context: ControlContext) throws -> String {
        guard let part = context.parameters.get(name), !part.isEmpty else {
            throw APIFault.badRequest("A part of the path is missing.")
        }
        guard let value = OperatorSyntax.text(part) else {
            throw APIFault.badRequest("A part of the path is not valid UTF-8.")
        }
        return value
    }

    /// A name or its beginning that a list is filtered by; it is compared with many, so it is short.
    static func name(_ text: Substring?, _ parameter: String) throws -> String? {
        guard let text else { return nil }
        guard text.utf8.count <= ChannelName.maxBytes, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw APIFault.badRequest("\(parameter) is at most \(ChannelName.maxBytes) printable ASCII characters.")
        }
        return String(text)
    }

    static func limit(_ text: Substring?, as name: String = "limit") throws -> Int {
        let limit = text.map { Int($0) ?? 0 } ?? 100
        guard (1...1000).contains(limit) else { throw APIFault.badRequest("\(name) must be a number from 1 to 1000.") }
        return limit
    }

    static func body(of request: Request, _ context: ControlContext, upTo limit: Int) async throws -> ByteBuffer {
        do {
            context.wantsBody()
            return try await request.body.collect(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw APIFault.tooLarge
        } catch {
            throw APIFault.badRequest("The body is broken.")
        }
    }
}

/// Writes answers of the API.
enum APIAnswer {
    static func json(_ json: ByteBuffer, _ status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status,
            headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: json)
        )
    }
}

/// How fast may be published through the API (`PUBLISH_RATE`).
final class PublishRate: Sendable {
    private let limit: GCRA?
    private let tat = Mutex(GCRA.full)

    init(_ rate: Rate?) {
        limit = rate.map { GCRA($0) }
    }

    /// Counts a publication.
    ///
    /// - Throws: 429 when it comes too soon.
    func take() throws {
        guard let limit else { return }
        let now = Int64(clamping: NIODeadline.now().uptimeNanoseconds)
        guard case .limited(let wait) = tat.withLock({ limit.take(1, tat: &$0, now: now) }) else { return }
        throw APIFault(
            status: .tooManyRequests,
            detail: "Publications exceed PUBLISH_RATE.",
            outcome: .refused,
            retryAfter: Int(wait / 1_000_000_000) + 1
        )
    }
}

/// The first answer to each key, for five minutes.
actor IdempotentAnswers {
    private static let lifetime = TimeAmount.minutes(5)
    private static let capacity = 100_000
    /// What all of them may hold, in bytes: the answer to a list of a thousand messages has some hundred thousand.
    static let maxBytes = 64 << 20

    /// Keys are bytes: text that only looks alike is not the same key.
    private var answers: [[UInt8]: Task<ByteBuffer, any Error>] = [:]
    /// The keys of those that have succeeded; the others are under way, as many as there are connections at most.
    private var order: Deque<(key: [UInt8], until: NIODeadline, byteCount: Int)> = []
    private var bytes = 0

    /// Answers with what the first one with this key gets; one that failed does not count.
    ///
    /// - Throws: 503 when too many keys, or too much for them, are remembered for another one.
    func answer(to key: String, _ make: @escaping @Sendable () async throws -> ByteBuffer) async throws -> ByteBuffer {
        let key = Array(key.utf8)
        removeOld()
        if let known = answers[key] { return try await known.value }
        guard answers.count < Self.capacity, bytes < Self.maxBytes else {
            throw APIFault(
                status: .serviceUnavailable,
                detail: "Too many idempotency keys were used within five minutes.",
                outcome: .refused,
                retryAfter: 1
            )
        }
        let task = Task { try await make() }
        answers[key] = task
        do {
            let answer = try await task.value
            let byteCount = key.count + answer.readableBytes
            order.append((key, .now() + Self.lifetime, byteCount))
            bytes += byteCount
            return answer
        } catch {
            answers[key] = nil
            throw error
        }
    }

    private func removeOld() {
        let now = NIODeadline.now()
        while let first = order.first, first.until <= now {
            answers[first.key] = nil
            bytes -= first.byteCount
            order.removeFirst()
        }
    }
}
