import Logging
import SidecarCore
import SidecarServer
import TokenVerifier

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Writes a line to standard error, before there is a logger.
func complain(_ text: String) {
    var line = text.hasSuffix("\n") ? text : text + "\n"
    line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
}

/// Opens the files and keys that the settings name, and says what is wrong with any of them.
func openFiles(of settings: Settings) async -> (authenticator: Authenticator?, faults: [String]) {
    let faults = SettingsFiles.faults(of: settings).map(\.description)
    do {
        return (try await Authenticator.make(settings), faults)
    } catch let error as TokenKeyError {
        let fault = "SIDESOCKET_JWT_KEY: cannot be used: \(error.problem). Accepted: \(TokenKeyError.accepted)"
        return (nil, faults + [fault])
    } catch {
        return (nil, faults + ["SIDESOCKET_JWT_KEY: cannot be used: \(error)"])
    }
}

/// Logs settings that are probably mistakes.
func warn(of settings: Settings, _ logger: Logger) {
    for warning in settings.warnings { logger.warning("a setting may be missing", metadata: ["why": "\(warning)"]) }
}

/// Says how sockets are kept alive, and what of it does not fit together.
func logPlan(_ plan: HeartbeatPlan, to logger: Logger) {
    logger.notice("heartbeat", metadata: ["plan": "\(plan.explanation.joined(separator: " "))"])
    for warning in plan.warnings { logger.warning("heartbeat settings conflict", metadata: ["why": "\(warning)"]) }
}

/// Says that tokens in queries end up in logs.
func warnOfTokensInQueries(_ settings: Settings, _ logger: Logger) {
    for case .query(let name) in settings.jwtSources where settings.auth != .off {
        logger.warning(
            "proxies along the way log tokens in the query string",
            metadata: ["SIDESOCKET_JWT_SOURCES": "query:\(name)", "instead": "subprotocol, cookie or message"]
        )
    }
}
