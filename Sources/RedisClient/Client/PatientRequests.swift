import NIOCore

/// Requests that were not carried out and are tried again after a pause, until their time is over.
final class PatientRequests {
    private let context: RedisContext
    private let again: (RedisRequest) -> Void
    private var waiting = PendingQueue<RedisRequest>(keepsPlaces: false)
    private var retryTimer: LoopTimer?
    private var deadlineTimer: LoopTimer?
    private var backoff: Backoff
    private var triedAt = NIODeadline.uptimeNanoseconds(0)

    /// - Parameter again: Tries a request again; it may come back.
    init(context: RedisContext, _ again: @escaping (RedisRequest) -> Void) {
        self.context = context
        self.again = again
        backoff = Backoff(Self.pauses)
        retryTimer = LoopTimer(eventLoop: context.eventLoop) { [weak self] in self?.retry() }
        deadlineTimer = LoopTimer(eventLoop: context.eventLoop) { [weak self] in self?.expire() }
    }

    private static var pauses: ClosedRange<TimeAmount> { .milliseconds(20) ... .milliseconds(500) }

    /// Lets a request wait; false when too many do.
    func add(_ request: RedisRequest) -> Bool {
        guard waiting.liveCount < RedisConfiguration.maxWaitingCommands,
            waiting.bytes + request.size <= context.configuration.maxPendingBytes
        else { return false }
        let now = context.eventLoop.now
        if waiting.liveCount == 0, now - triedAt > .seconds(1) { backoff.reset() }
        waiting.append(request, bytes: request.size, deadline: request.deadline)
        deadlineTimer?.setNoLater(than: request.deadline)
        if retryTimer?.due == nil { retryTimer?.setNoLater(than: now + context.pause(&backoff)) }
        return true
    }

    /// Something has changed for the better.
    func retryNow() {
        guard waiting.liveCount > 0 else { return }
        retryTimer?.cancel()
        retry()
    }

    /// Ends it; returns what waited.
    func close() -> [RedisRequest] {
        retryTimer?.cancel()
        deadlineTimer?.cancel()
        return takeAll()
    }

    private func takeAll() -> [RedisRequest] {
        var all: [RedisRequest] = []
        while let request = waiting.popFirstLive() { all.append(request) }
        return all
    }

    private func retry() {
        triedAt = context.eventLoop.now
        expire()
        for request in takeAll() { again(request) }
    }

    private func expire() {
        for request in waiting.expire(at: context.eventLoop.now) { request.fail(request.expiry(nil)) }
        if let next = waiting.nextDeadline() { deadlineTimer?.setNoLater(than: next) }
    }
}
