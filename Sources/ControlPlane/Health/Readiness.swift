/// What `/readyz` tells: whether new connections are welcome, and how much room is left.
public struct Readiness: Sendable, Equatable {
    /// Whether the public addresses are bound; before, it is not ready.
    public var listening: Bool
    /// Whether the process is shutting down; then it is not ready.
    public var draining: Bool
    /// Whether the last exchange with the app worked; nil before the first one. It doesn't decide readiness: taking the
    /// sidecar out of the balancer would not bring the app back.
    public var appReachable: Bool?
    /// Whether the health checks of the app decide readiness too (`READY_NEEDS_APP`).
    public var needsApp = false
    /// The app's addresses.
    public var apps: [App]
    /// Whether what is owed to the app can be written to disk; nil when it is not to be. It doesn't decide readiness
    /// either: clients are served all the same.
    public var outboxWritable: Bool?
    /// Whether the engine between the nodes is there; nil without one. It decides readiness only with
    /// ``needsCluster``: everything but channels works without it.
    public var clusterIsUp: Bool?
    /// Whether the engine decides readiness too (`READY_NEEDS_CLUSTER`).
    public var needsCluster = false
    /// Client connections of every kind that are open now.
    public var connections: Int
    /// Client connections that it takes at most.
    public var maxConnections: Int
    /// Event requests that the app is working on.
    public var inFlight: Int
    /// Event requests to the app at once at most.
    public var maxInFlight: Int
    /// Bytes received from clients that the app has not answered.
    public var pendingBytes: Int
    /// Bytes that may be pending at most.
    public var maxPendingBytes: Int

    /// One address of the app.
    public struct App: Sendable, Equatable {
        /// The address as it was configured.
        public var address: String
        /// `closed`, `half-open` or `open`.
        public var breaker: String
        /// Whether its health check fails.
        public var isDown: Bool
        /// Calls in flight.
        public var inFlight: Int

        /// Makes one.
        public init(address: String, breaker: String, isDown: Bool, inFlight: Int) {
            self.address = address
            self.breaker = breaker
            self.isDown = isDown
            self.inFlight = inFlight
        }
    }

    /// Creates a reading.
    public init(
        listening: Bool,
        draining: Bool,
        appReachable: Bool?,
        apps: [App] = [],
        outboxWritable: Bool? = nil,
        clusterIsUp: Bool? = nil,
        connections: Int,
        maxConnections: Int,
        inFlight: Int,
        maxInFlight: Int,
        pendingBytes: Int,
        maxPendingBytes: Int
    ) {
        self.listening = listening
        self.draining = draining
        self.appReachable = appReachable
        self.apps = apps
        self.outboxWritable = outboxWritable
        self.clusterIsUp = clusterIsUp
        self.connections = connections
        self.maxConnections = maxConnections
        self.inFlight = inFlight
        self.maxInFlight = maxInFlight
        self.pendingBytes = pendingBytes
        self.maxPendingBytes = maxPendingBytes
    }

    /// What it comes to, in one word.
    enum Status: String, Encodable {
        case ready, starting, draining
        case appDown = "app down"
        case clusterDown = "cluster down"
    }

    var status: Status {
        if self.draining { return .draining }
        if !self.listening { return .starting }
        if self.lacksApp { return .appDown }
        return self.needsCluster && self.clusterIsUp == false ? .clusterDown : .ready
    }

    /// True when new connections are welcome.
    var isReady: Bool { self.status == .ready }

    private var lacksApp: Bool {
        self.needsApp && (self.appReachable == nil || self.apps.allSatisfy(\.isDown))
    }
}
