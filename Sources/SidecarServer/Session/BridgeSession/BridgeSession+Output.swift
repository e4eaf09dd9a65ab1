import Logging
import SidecarCore

/// What follows when its client reads too slowly.
extension BridgeSession: ClientOutputOwner {
    func noteLimited(by kind: RefusalKind, _ action: SlowClientAction?) {
        noteRefused(kind, action.map { ["action": "\($0.rawValue)"] } ?? [:])
    }

    func outputIsClear() { conversation?.goOn() }

    func closeAsTooSlow() {
        close(code: .policyViolation, reason: "the client reads too slowly", for: .slowClient)
    }
}
