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
            "The channels that one connection may have subscribed to."
        ),
        SettingDefinition(
            "CHANNEL_POLICIES",
            .channels,
            \.channelPolicies,
            .channelPolicies,
            unset: "none",
            "How channels are treated whose names match a pattern: slow subscribers, and what is kept."
        ),
        SettingDefinition(
            "HISTORY_SIZE",
            .channels,
            \.historySize,
            .count(Settings.historySizes),
            "The messages that a channel keeps for those who come back; 0 for none."
        ),
        SettingDefinition(
            "HISTORY_TTL",
            .channels,
            \.historyTTL,
            .duration(Settings.historyTTLs),
            "How long a channel keeps them."
        ),
        SettingDefinition(
            "MAX_HISTORY_BYTES",
            .channels,
            \.maxHistoryBytes,
            .size(1 << 10...1 << 40),
            "What all channels may keep; the oldest messages fall out."
        ),
        SettingDefinition(
            "CHANNEL_EVENTS",
            .channels,
            \.channelEvents,
            .onOff,
            "Whether the app gets an event when a channel has subscribers, and when it has none any more."
        ),
        SettingDefinition(
            "BROADCAST_HEADER",
            .channels,
            \.broadcastHeader,
            .onOff,
            "Whether responses that are passed through may publish with Sidesocket-Broadcast headers."
        ),
        SettingDefinition(
            "PUBLISH_RATE",
            .channels,
            \.publishRate,
            .rate(.events),
            "Publications through the API, of all callers together."
        ),
    ]
}
