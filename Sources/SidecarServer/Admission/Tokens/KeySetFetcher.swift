import Logging
import NIOCore
import SidecarCore
import TokenVerifier

/// Keeps the issuer's keys up to date (`JWT_JWKS_URL`); the old ones stay in use while it cannot be reached.
///
/// They are fetched at the start, every five minutes, and when a token names an unknown key, but never more than once
/// in thirty seconds.
final class KeySetFetcher: TimerOwner {
    private static let interval = TimeAmount.minutes(5)
    private static let shortestInterval = TimeAmount.seconds(30)
    private static let tick = TimeAmount.milliseconds(500)

    private let path: String
    private let pool: AppPool
    private let authenticator: Authenticator
    private let timers: ShardTimers
    private let log: LoopLog
    private let timer = TimerEntry()
    private var request: KeySetRequest?
    private var startedAt = NIODeadline.uptimeNanoseconds(0)
    private var hasFailed = false
    private var isDueAfter: TimeAmount { hasFailed ? Self.shortestInterval : Self.interval }

    init(path: String, pool: AppPool, authenticator: Authenticator, timers: ShardTimers, log: LoopLog) {
        self.path = path
        self.pool = pool
        self.authenticator = authenticator
        self.timers = timers
        self.log = log
    }

    func start() {
        fetch()
        timers.arm(timer, owner: self, at: .now() + Self.tick)
    }

    /// The settings have changed: if the keys could not be fetched before, they are fetched again.
    func settingsChanged() {
        if request == nil, hasFailed { fetch() }
    }

    func deadlineReached(at now: NIODeadline) -> NIODeadline? {
        let age = now - startedAt
        if request != nil {
            // A request that hangs, as when the name does not resolve, has no other end.
            if age > KeySetRequest.timeout { ended("It did not answer in time.") }
        } else if age >= isDueAfter || age >= Self.shortestInterval && authenticator.takeMissedKey() {
            fetch()
        }
        return now + Self.tick
    }

    private func fetch() {
        startedAt = .now()
        let request = KeySetRequest(path: path, authority: pool.origin.authority) { [weak self] request, answer in
            guard let self, self.request === request else { return }
            switch answer {
            case .success(let bytes): self.read(bytes, request)
            case .failure(let fault): self.ended(fault.sentence)
            }
        }
        self.request = request
        pool.run(request, fresh: true)
    }

    /// Making keys takes an actor of the library, so it happens outside the event loop.
    private func read(_ bytes: [UInt8], _ request: KeySetRequest) {
        let bound = NIOLoopBound((self, request), eventLoop: timers.eventLoop)
        let loop = timers.eventLoop
        let algorithms = authenticator.algorithms
        Task {
            let keys = try? await TokenKeys(keySet: bytes, algorithms: algorithms)
            loop.execute {
                let (fetcher, request) = bound.value
                if fetcher.request === request { fetcher.took(keys) }
            }
        }
    }

    private func took(_ keys: TokenKeys?) {
        guard let keys else { return ended("It is not a JSON Web Key Set.") }
        guard !keys.isEmpty else { return ended("It has no key that JWT_ALGORITHMS could use.") }
        authenticator.replaceKeySet(keys)
        ended(nil)
    }

    private func ended(_ fault: String?) {
        request?.isCancelled = true
        request = nil
        hasFailed = fault != nil
        if let fault {
            log.logger.warning("cannot fetch the JWKS", metadata: ["why": "\(fault)"])
        }
    }
}
