internal import NIOHTTPTypes

/// Decides when a client that asked for it (`Expect: 100-continue`) is told to send its body.
///
/// Only once somebody wants the body: a request that is refused for its head alone is answered without it (RFC 9110
/// §10.1.1). Only when all earlier answers are out. And not any more when the body has come by itself.
struct ExpectedContinue {
    /// Requests that have no whole answer yet; the last one may lack its body, all others are whole.
    private var unanswered = 0
    private var isAwaited = false
    private var isWanted = false

    /// The head of a request has come.
    mutating func requestBegan(expectsContinue: Bool) {
        unanswered += 1
        isAwaited = expectsContinue
        isWanted = false
    }

    /// The body has begun, or there is none.
    mutating func bodyCame() { isAwaited = false }

    /// The body is wanted; true when the client is to be told.
    mutating func bodyWanted() -> Bool {
        isWanted = true
        return takeTurn()
    }

    /// An answer is whole; true when the client is to be told.
    mutating func answered() -> Bool {
        unanswered = max(unanswered - 1, 0)
        // Nobody has to be told any more when the answer was that of the request itself.
        if unanswered == 0 { isAwaited = false }
        return takeTurn()
    }

    private mutating func takeTurn() -> Bool {
        guard isAwaited, isWanted, unanswered == 1 else { return false }
        isAwaited = false
        return true
    }
}
