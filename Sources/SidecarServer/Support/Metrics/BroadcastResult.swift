import SidecarCore

/// The result of a `Sidesocket-Broadcast` field, the `result` label of `broadcasts_total`.
enum BroadcastResult: String, CaseIterable {
    case published
    case tooLong = "too_long"
    case malformed

    init(_ fault: BroadcastHeader.Fault) {
        switch fault {
        case .tooLong: self = .tooLong
        case .malformed: self = .malformed
        }
    }
}
