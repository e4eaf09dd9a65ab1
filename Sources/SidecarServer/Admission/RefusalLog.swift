import HTTP1
import Logging
import NIOCore
import SidecarCore

/// Tells the operator what clients are refused for, and which setting to check: one line a minute for each kind.
final class RefusalLog: Sendable {
    private let settings: Settings
    let logger: Logger
    private let notices: RefusalNotices

    init(settings: Settings, logger: Logger) {
        self.settings = settings
        self.logger = logger
        notices = RefusalNotices()
    }

    /// A log for other settings that keeps the counts.
    init(_ settings: Settings, after old: RefusalLog) {
        self.settings = settings
        logger = old.logger
        notices = old.notices
    }

    /// Records that a client was refused or limited.
    ///
    /// - Parameters:
    ///   - client: Its address.
    ///   - sentForwardingHeader: Whether it may be an untrusted proxy.
    ///   - more: Further fields of the line.
    func note(
        _ kind: RefusalKind,
        client: String,
        sentForwardingHeader: Bool = false,
        _ more: @autoclosure () -> Logger.Metadata = [:]
    ) {
        guard let leftOut = notices.refused(kind, at: .now()) else { return }
        var fields = more()
        fields["client"] = "\(client)"
        if let variable = kind.variable { fields["setting"] = "\(setting(variable))" }
        fields["remedy"] = "\(kind.remedy)"
        if leftOut > 0 { fields["left_out"] = .stringConvertible(leftOut) }
        if kind.countsByAddress, sentForwardingHeader {
            fields["hint"] =
                settings.trustedProxies.isEmpty
                ? "the request has a forwarding header, but SIDESOCKET_TRUSTED_PROXIES is empty"
                : "the request has a forwarding header, but SIDESOCKET_TRUSTED_PROXIES does not name its peer"
        }
        logger.warning("\(kind.event)", metadata: fields)
    }

    /// Records that the sender of a request was refused or limited.
    func note(_ kind: RefusalKind, _ client: ResolvedClient, _ more: @autoclosure () -> Logger.Metadata = [:]) {
        note(
            kind,
            client: client.address,
            sentForwardingHeader: client.untrustedForwardingHeaderSeen,
            more()
        )
    }

    /// The variable with its current value, as a user would write it.
    private func setting(_ variable: String) -> String {
        let name = "SIDESOCKET_\(variable)"
        let row = settings.effectiveTable().first { $0.variable == name }
        return row.map { "\(name)=\($0.value)" } ?? name
    }
}

extension RefusalKind {
    /// The limit that a request's head exceeded; nil for one that no setting controls.
    init?(_ error: HTTPParseError) {
        switch error {
        case .headTooLarge, .targetTooLong: self = .headerBytes
        case .tooManyHeaders: self = .headerCount
        default: return nil
        }
    }
}
