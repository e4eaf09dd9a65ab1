public import NIOCore

/// How the channels of a pattern are treated (`CHANNEL_POLICIES`).
public struct ChannelPolicy: Sendable, Equatable, CustomStringConvertible {
    /// A name, or a prefix and `*`.
    public let pattern: String
    /// What is done with slow subscribers; nil: as `SLOW_CLIENT_ACTION` says.
    public let action: SlowClientAction?
    /// Messages that are kept; nil: as `HISTORY_SIZE` says.
    public let historySize: Int?
    /// How long they are kept; nil: as `HISTORY_TTL` says.
    public let historyTTL: TimeAmount?
    /// Whether a raw WebSocket, which cannot be told, is closed with 4410 when messages of the channel were lost.
    public let closesOnGap: Bool
    /// Whether clients of the protocol may send events to the other members.
    public let allowsClientEvents: Bool
    /// Whether clients of the protocol are told which users are in the channel.
    public let showsMembers: Bool

    /// Whether the policy applies to a channel.
    public func matches(_ channel: ChannelName) -> Bool {
        pattern.hasSuffix("*") ? channel.text.hasPrefix(pattern.dropLast()) : channel.text == pattern
    }

    /// As written in the setting.
    public var description: String {
        let items = [
            action?.rawValue, historySize.map { "history=\($0)" }, historyTTL.map { "ttl=\(showDuration($0))" },
            closesOnGap ? "gap=close" : nil, allowsClientEvents ? "client-events=on" : nil,
            showsMembers ? "presence=on" : nil,
        ]
        return pattern + "=" + items.compactMap { $0 }.joined(separator: ",")
    }
}

extension ValueSyntax where Value == [ChannelPolicy] {
    static let channelPolicies = ValueSyntax(
        accepted:
            "PATTERN=ACTION,history=COUNT,ttl=DURATION,gap=close,client-events=on,presence=on such as ticker:*=latest;chat:*=close,history=100; ACTION is "
            + SlowClientAction.allCases.map(\.rawValue).joined(separator: ", ") + "; separate several with ;",
        read: { text throws(ValueProblem) in
            var policies: [ChannelPolicy] = []
            for entry in text.split(separator: ";", omittingEmptySubsequences: false) {
                policies.append(try policy(String(entry)))
            }
            return policies
        },
        show: { $0.map(\.description).joined(separator: ";") }
    )

    private static func policy(_ entry: String) throws(ValueProblem) -> ChannelPolicy {
        guard let equals = entry.firstIndex(of: "=") else { throw ValueProblem("has an entry without =") }
        var pattern = entry[..<equals].drop { $0 == " " }
        while pattern.last == " " { pattern.removeLast() }
        guard ChannelName(pattern) != nil, !pattern.dropLast().contains("*") else {
            throw ValueProblem("has a pattern that is not a channel name, with at most one * at its end")
        }
        var action: SlowClientAction?
        var size: Int?
        var ttl: TimeAmount?
        var closesOnGap = false
        var allowsClientEvents = false
        var showsMembers = false
        for item in try listItems(String(entry[entry.index(after: equals)...])) {
            if let word = SlowClientAction(rawValue: String(item)), action == nil {
                action = word
            } else if item.hasPrefix("history="), size == nil {
                size = try ValueSyntax<Int>.count(Settings.historySizes).read(String(item.dropFirst(8)))
            } else if item.hasPrefix("ttl="), ttl == nil {
                ttl = try ValueSyntax<TimeAmount>.duration(Settings.historyTTLs).read(String(item.dropFirst(4)))
            } else if item == "gap=close", !closesOnGap {
                closesOnGap = true
            } else if item == "client-events=on", !allowsClientEvents {
                allowsClientEvents = true
            } else if item == "presence=on", !showsMembers {
                showsMembers = true
            } else {
                throw ValueProblem("has an item that is unknown or appears twice")
            }
        }
        return ChannelPolicy(
            pattern: String(pattern),
            action: action,
            historySize: size,
            historyTTL: ttl,
            closesOnGap: closesOnGap,
            allowsClientEvents: allowsClientEvents,
            showsMembers: showsMembers
        )
    }
}

/// What the settings say of a channel.
public struct ChannelRules: Sendable, Equatable {
    private let policies: [ChannelPolicy]
    private let historySize: Int
    private let historyTTL: TimeAmount

    /// The rules of these settings.
    public init(_ settings: Settings) {
        policies = settings.channelPolicies ?? []
        historySize = settings.historySize
        historyTTL = settings.historyTTL
    }

    /// The first policy that matches a channel.
    public func policy(for channel: ChannelName) -> ChannelPolicy? { policies.first { $0.matches(channel) } }

    /// Whether clients may send events to each other in any channel.
    public var allowsClientEvents: Bool { policies.contains(where: \.allowsClientEvents) }

    /// Whether clients are told of the users in any channel.
    public var showsMembers: Bool { policies.contains(where: \.showsMembers) }

    /// How many messages of a channel are kept.
    public func historyCount(of channel: ChannelName) -> Int { policy(for: channel)?.historySize ?? historySize }

    /// How long messages of a channel are kept.
    public func historyTTL(of channel: ChannelName) -> TimeAmount { policy(for: channel)?.historyTTL ?? historyTTL }

    /// How many messages of a channel are kept, and for how long in nanoseconds.
    func history(of channel: ChannelName) -> (size: Int, ttl: Int64) {
        let policy = policy(for: channel)
        return (policy?.historySize ?? historySize, (policy?.historyTTL ?? historyTTL).nanoseconds)
    }
}
