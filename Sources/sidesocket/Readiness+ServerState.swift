import ControlPlane
import SidecarCore
import SidecarServer

extension Readiness {
    /// What `/readyz` tells, read off the public side.
    init(_ state: ServerState, needsApp: Bool, needsCluster: Bool) {
        self.init(
            listening: state.isListening,
            draining: state.isDraining,
            appReachable: state.appReachable,
            apps: state.appAddresses.map {
                App(address: $0.name, breaker: $0.breaker.word, isDown: $0.isDown, inFlight: $0.inFlight)
            },
            outboxWritable: state.outboxIsWritable,
            clusterIsUp: state.cluster?.isUp,
            connections: state.sockets,
            maxConnections: state.maxConnections,
            inFlight: state.inFlight,
            maxInFlight: state.maxInFlight,
            pendingBytes: state.pendingBytes.held,
            maxPendingBytes: state.pendingBytes.limit
        )
        self.needsApp = needsApp
        self.needsCluster = needsCluster
    }
}
