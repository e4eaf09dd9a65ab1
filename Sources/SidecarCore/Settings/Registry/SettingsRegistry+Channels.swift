internal import NIOCore

/// The variables of channels and publishing.
extension SettingsRegistry {
    static let channels = [
        SettingDefinition(
            "SSE_PATHS",
            .channels,
            \.ssePaths,
            .pathPatterns,
            unset: "none",
            "The paths where a GET that accepts text/event-stream becomes a stream of Server-Sent Events."
        ),
        SettingDefinition(
            "MAX_CHANNELS_PER_CONNECTION",
            .channels,
            \.maxChannelsPerConnection,
            .count(1...100_000),
            "How many channels one connection may be in."
        ),
        SettingDefinition(
            "CHANNEL_POLICIES",
            .channels,
            \.channelPolicies,
            .channelPolicies,
            unset: "none",
            "Policies for channels whose names match a pattern: slow subscribers, history and gaps."
        ),
        SettingDefinition(
            "HISTORY_SIZE",
            .channels,
            \.historySize,
            .count(Settings.historySizes),
            "How many messages a channel keeps in its history; 0 for none."
        ),
        SettingDefinition(
            "HISTORY_TTL",
            .channels,
            \.historyTTL,
            .duration(Settings.historyTTLs),
            "How long a channel keeps messages."
        ),
        SettingDefinition(
            "MAX_HISTORY_BYTES",
            .channels,
            \.maxHistoryBytes,
            .size(1 << 10...1 << 40),
            "The bytes that all channels may keep together; the oldest messages are evicted."
        ),
        SettingDefinition(
            "CHANNEL_EVENTS",
            .channels,
            \.channelEvents,
            .onOff,
            "Whether the app gets an event when a channel has its first subscriber and has lost its last."
        ),
        SettingDefinition(
            "BROADCAST_HEADER",
            .channels,
            \.broadcastHeader,
            .onOff,
            "Whether passed-through responses may publish with Sidesocket-Broadcast headers."
        ),
        SettingDefinition(
            "PUBLISH_RATE",
            .channels,
            \.publishRate,
            .rate(.events),
            "Publications through the API, all callers together."
        ),
    ]
}
