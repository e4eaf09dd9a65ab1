import NIOCore

/// Which scripts a connection's server knows, and what waits because it has forgotten one.
///
/// The first run of a script on a connection carries its source, so that nothing has to be asked for. When a name is
/// refused all the same (`SCRIPT FLUSH`), what was refused has to go again before what comes later: from then on
/// requests are held until everything that was on its way is answered.
struct ScriptLedger {
    /// More than this are forgotten; sending a source again does no harm.
    static var maxScripts: Int { 1_000 }

    private var known: Set<RedisScript> = []
    private var refusals = PendingQueue<RedisRequest>(keepsPlaces: false)
    private var held = PendingQueue<RedisRequest>(keepsPlaces: false)
    /// The number of the first reply that is no longer waited for.
    private(set) var barrier: UInt64 = 0
    /// True when requests have to be held.
    private(set) var isHolding = false

    /// The bytes of what is held.
    var heldBytes: Int { refusals.bytes + held.bytes }

    func isLoaded(_ script: RedisScript) -> Bool { known.contains(script) }

    mutating func loaded(_ script: RedisScript) {
        if known.count >= Self.maxScripts { known = [] }
        known.insert(script)
    }

    /// The server does not know the script of this request.
    ///
    /// - Parameter lastInFlight: The number behind the last request that is on its way.
    mutating func refused(_ request: RedisRequest, lastInFlight: UInt64) {
        known = []
        var again = request
        again.needsSource = true
        refusals.append(again, bytes: request.size, deadline: request.deadline)
        guard !isHolding else { return }
        isHolding = true
        barrier = lastInFlight
    }

    /// Keeps a request back.
    mutating func hold(_ request: RedisRequest) {
        held.append(request, bytes: request.size, deadline: request.deadline)
    }

    /// Everything that was kept back, in the order in which it has to go.
    mutating func release() -> [RedisRequest] {
        isHolding = false
        var all: [RedisRequest] = []
        while let request = refusals.popFirstLive() { all.append(request) }
        while let request = held.popFirstLive() { all.append(request) }
        return all
    }

    mutating func nextDeadline() -> NIODeadline? {
        guard let first = refusals.nextDeadline() else { return held.nextDeadline() }
        guard let second = held.nextDeadline() else { return first }
        return min(first, second)
    }

    mutating func expire(at now: NIODeadline) -> [RedisRequest] {
        refusals.expire(at: now) + held.expire(at: now)
    }
}
