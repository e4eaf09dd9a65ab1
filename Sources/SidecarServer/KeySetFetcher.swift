import Logging
import NIOCore
import SidecarCore
import TokenVerifier

/// Keeps the issuer's keys up to date (`JWT_JWKS_URL`); the old ones serve while it cannot be reached.
///
/// They are fetched at the start, every five minutes, and when a token names a key that is not there; but however many
/// such tokens come, no more than once in thirty seconds.
final class KeySetFetcher: BackendExchange, TimerOwner {
    static let interval = TimeAmount.minutes(5)
    static let shortestInterval = TimeAmount.seconds(30)
    static let timeout = TimeAmount.seconds(10)
    static let maxBytes = 256 << 10
    private static let tick = TimeAmount.milliseconds(500)

    private let path: String
    private let pool: BackendPool
    private let authenticator: Authenticator
    private unowned let shard: LoopShard
    private let timer = TimerEntry()
    private var connection: BackendConnection?
    private var status = 0
    private var body = ByteBuffer()
    private var isUnderWay = false
    private var startedAt = NIODeadline.uptimeNanoseconds(0)
    private var isDueAfter = KeySetFetcher.interval

    init(path: String, pool: BackendPool, authenticator: Authenticator, shard: LoopShard) {
        self.path = path
        self.pool = pool
        self.authenticator = authenticator
        self.shard = shard
    }

    var isCancelled: Bool { !isUnderWay }

    func start() {
        fetch()
        shard.timers.arm(timer, owner: self, at: .now() + Self.tick)
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        let age = now - startedAt
        if isUnderWay {
            // A name that does not resolve has no other end.
            if age > Self.timeout { ended("It did not answer in time.") }
        } else if age >= isDueAfter || age >= Self.shortestInterval && authenticator.takeMissedKey() {
            fetch()
        }
        return now + Self.tick
    }

    private func fetch() {
        isUnderWay = true
        startedAt = .now()
        status = 0
        body.clear()
        pool.run(self, fresh: true)
    }

    func backendReady(_ connection: BackendConnection) {
        self.connection = connection
        connection.expectReply(to: .other, by: startedAt + Self.timeout)
        var request = ByteBuffer()
        request.writeString("GET \(path) HTTP/1.1\r\nHost: \(pool.origin.authority)\r\n")
        request.writeStaticString("User-Agent: sidesocket\r\nAccept: application/jwk-set+json, application/json\r\n")
        request.writeStaticString("Connection: close\r\n\r\n")
        connection.sendWhole(request)
    }

    func backendReplied(_ part: HTTPReplyPart) {
        guard isUnderWay else { return }
        switch part {
        case .informational: break
        case .head(let head): status = head.status
        case .body(let bytes):
            if body.readableBytes + bytes.readableBytes > Self.maxBytes {
                connection?.abort()
                ended("It is larger than \(Self.maxBytes) bytes.")
            } else {
                body.writeImmutableBuffer(bytes)
            }
        case .end:
            // A redirect may lead anywhere; whoever moves the keys says so in the settings.
            guard status == 200 else { return ended("The answer has the status \(status).") }
            read(Array(body.readableBytesView))
        }
    }

    func backendFailed(_ failure: DeliveryFailure, wasStale: Bool) {
        if isUnderWay { ended(failure.sentence) }
    }
    func backendWritabilityChanged(isWritable: Bool) {}
    func backendReadComplete() {}

    /// Making keys takes an actor of the library, so it happens beside the loop.
    private func read(_ bytes: [UInt8]) {
        let bound = NIOLoopBound(self, eventLoop: shard.eventLoop)
        let loop = shard.eventLoop
        let algorithms = authenticator.algorithms
        Task {
            let keys = try? await TokenKeys(keySet: bytes, algorithms: algorithms)
            loop.execute { bound.value.took(keys) }
        }
    }

    private func took(_ keys: TokenKeys?) {
        guard isUnderWay else { return }
        guard let keys else { return ended("It is no JSON Web Key Set.") }
        guard !keys.isEmpty else { return ended("It has no key that JWT_ALGORITHMS could use.") }
        authenticator.replaceKeySet(keys)
        ended(nil)
    }

    private func ended(_ fault: String?) {
        isUnderWay = false
        connection = nil
        body = ByteBuffer()
        isDueAfter = fault == nil ? Self.interval : Self.shortestInterval
        if let fault {
            shard.logger.warning("the keys of tokens could not be fetched", metadata: ["why": "\(fault)"])
        }
    }
}
