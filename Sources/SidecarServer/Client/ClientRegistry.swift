/// The clients of one event loop, by what they speak.
final class ClientRegistry {
    private var httpHandlers: [ObjectIdentifier: EdgeHTTPHandler] = [:]
    private var departing: [ObjectIdentifier: WebSocketHandler] = [:]
    /// WebSockets and event streams, until their last byte is out and they have closed.
    private var streams = 0

    /// True while a WebSocket or an event stream is left.
    var hasStreams: Bool { streams > 0 }
    /// True while a request or a handshake is in flight.
    var hasRequests: Bool { httpHandlers.values.contains(where: \.isBusy) }

    func streamBegan() { streams += 1 }
    func streamEnded() { streams -= 1 }

    /// Keeps the handler of a client that has gone, until what it sent has been taken.
    func keep(_ handler: WebSocketHandler) { departing[ObjectIdentifier(handler)] = handler }
    func release(_ handler: WebSocketHandler) { departing[ObjectIdentifier(handler)] = nil }

    func insert(_ handler: EdgeHTTPHandler) { httpHandlers[ObjectIdentifier(handler)] = handler }
    func remove(_ handler: EdgeHTTPHandler) { httpHandlers[ObjectIdentifier(handler)] = nil }

    /// Ends the connections that speak HTTP once their request is answered.
    func drainRequests() {
        for handler in Array(httpHandlers.values) { handler.drain() }
    }

    /// Ends them now.
    func endRequests() {
        for handler in Array(httpHandlers.values) { handler.drainIsOver() }
    }
}
