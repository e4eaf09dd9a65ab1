/// The closing of one connection as its server sees it (RFC 6455 §7.1).
///
/// ```
/// open ── localClose ──▶ sentClose ── receivedClose ──▶ closed
///   ├──── receivedClose ──────────────────────────────▶ closed
///   └──── transportClosed ────────────────────────────▶ closed
/// ```
/// A server that got a Close frame answers it and ends the transport at once, so there is no state in between.
public struct CloseHandshake: Sendable, Equatable {
    /// What to do when this end wants to close.
    public enum LocalCloseAction: Sendable, Equatable {
        /// Send a Close frame with this code, then wait for the client's for a bounded time.
        case sendClose(CloseCode?)
        /// The connection is closing already.
        case ignore
    }

    /// What to do when the client's Close frame came.
    public enum PeerCloseAction: Sendable, Equatable {
        /// Answer with a Close frame of the same code, then end the transport.
        case replyThenClose(CloseCode?)
        /// Both Close frames are out: end the transport.
        case closeNow
        /// The connection is closed already.
        case ignore
    }

    /// What to do when the client broke the protocol (RFC 6455 §7.1.7).
    public enum FailAction: Sendable, Equatable {
        /// Send a Close frame with this code and end the transport without waiting for an answer.
        case sendThenClose(CloseCode)
        /// Our Close frame is out already: end the transport.
        case closeNow
        /// The connection is closed already.
        case ignore
    }

    private enum State: Sendable, Equatable {
        case open
        case sentClose
        case closed
    }

    private var state = State.open

    /// Starts with an open connection.
    public init() {}

    /// This end wants to close with `code`; nil sends an empty Close frame.
    public mutating func localClose(_ code: CloseCode?) -> LocalCloseAction {
        guard case .open = self.state else { return .ignore }
        self.state = .sentClose
        return .sendClose(code)
    }

    /// The client's Close frame came; nil when its body was empty.
    public mutating func receivedClose(_ code: CloseCode?) -> PeerCloseAction {
        switch self.state {
        case .open:
            self.state = .closed
            return .replyThenClose(code)
        case .sentClose:
            self.state = .closed
            return .closeNow
        case .closed:
            return .ignore
        }
    }

    /// The client broke the protocol, or a limit that allows no waiting.
    public mutating func fail(_ code: CloseCode) -> FailAction {
        switch self.state {
        case .open:
            self.state = .closed
            return .sendThenClose(code)
        case .sentClose:
            self.state = .closed
            return .closeNow
        case .closed:
            return .ignore
        }
    }

    /// The client did not answer our Close frame in time, or the transport is gone.
    public mutating func transportClosed() {
        self.state = .closed
    }
}
