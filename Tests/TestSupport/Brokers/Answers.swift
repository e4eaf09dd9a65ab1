import Synchronization

/// Nothing came of it in time.
package struct NoAnswer: Error {
    package init() {}
}

private let patience = Duration.seconds(10)

/// What a call tells its completion, now or later; an error when that takes too long.
package func answer<Value: Sendable>(_ call: (@escaping @Sendable (Value) -> Void) -> Void) async throws -> Value {
    let (values, continuation) = AsyncStream.makeStream(of: Value.self)
    call { continuation.yield($0) }
    // Ends the wait, not the test: it is cancelled by the answer.
    let timeout = Task {
        try await Task.sleep(for: patience)
        continuation.finish()
    }
    defer { timeout.cancel() }
    for await value in values { return value }
    throw NoAnswer()
}

/// Waits until something has become true; false when that takes too long.
package func eventually(within time: Duration = patience, _ isTrue: () async -> Bool) async -> Bool {
    let deadline = ContinuousClock.now + time
    while !(await isTrue()) {
        guard ContinuousClock.now < deadline else { return false }
        await Task.yield()
    }
    return true
}
