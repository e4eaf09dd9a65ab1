public import SidecarCore

/// An address of the app as health checks and scrapes see it.
public struct AppAddressStatus: Sendable {
    /// The address as it was configured.
    public let name: String
    /// Its breaker.
    public let breaker: CircuitBreaker.State
    /// Calls in flight.
    public let inFlight: Int
    /// Whether its health check fails.
    public let isDown: Bool
}
