internal import NIOCore

/// The variables of the client protocol.
extension SettingsRegistry {
    static let clientProtocol = [
        SettingDefinition(
            "PROTOCOL",
            .clientProtocol,
            \.clientProtocol,
            .onOff,
            "Whether a client that offers the client protocol gets it; off: every WebSocket is raw."
        ),
        SettingDefinition(
            "RESUME_WINDOW",
            .clientProtocol,
            \.resumeWindow,
            .duration(.seconds(1) ... .hours(24), off: true),
            "How long a session waits for its client to return after a lost connection."
        ),
        SettingDefinition(
            "RESUME_COOKIES",
            .clientProtocol,
            \.resumeCookies,
            .cookieNames,
            unset: "none",
            "The cookies that must be the same when a client resumes its session, such as the app's session cookie."
        ),
        SettingDefinition(
            "MAX_DETACHED",
            .clientProtocol,
            \.maxDetached,
            .count(0...10_000_000),
            unset: "MAX_CONNECTIONS",
            "How many sessions may wait for their clients, in all; beyond it those that have waited longest end."
        ),
        SettingDefinition(
            "HTTP_PATHS",
            .clientProtocol,
            \.httpPaths,
            .pathPatterns,
            unset: "none",
            "The paths where clients can speak the client protocol over HTTP, where WebSockets do not pass."
        ),
        SettingDefinition(
            "POLL_TIMEOUT",
            .clientProtocol,
            \.pollTimeout,
            .duration(.seconds(1) ... .minutes(10)),
            "How long a poll over HTTP waits for something to answer."
        ),
        SettingDefinition(
            "CLIENT_SCRIPT",
            .clientProtocol,
            \.clientScriptPath,
            .servedPath,
            unset: "none",
            "The path at which the client for browsers is served."
        ),
        SettingDefinition(
            "SESSION_EVENTS",
            .clientProtocol,
            \.sessionEvents,
            .onOff,
            "Whether the app gets an event when a client loses its connection and may return, and when it has returned."
        ),
        SettingDefinition(
            "CLIENT_EVENT_RATE",
            .clientProtocol,
            \.clientEventRate,
            .rate(.events),
            "Events from one client to the others in its channels."
        ),
    ]
}
