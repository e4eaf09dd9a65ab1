import SidecarCore

/// What a node writes of itself: `KEY=VALUE`, separated by tabs. Keys that are not known are left to later versions.
struct NodeRecord: Equatable {
    var info: NodeInfo
    /// Grows with each renewal.
    var counter: UInt64

    /// The end of the year 9999, in milliseconds since 1970.
    private static let latest: Int64 = 253_402_300_799_999
    /// The longest name and version, in characters.
    private static let longestName = 256
    /// An hour, in milliseconds.
    private static let longestLease: Int64 = 3_600_000

    /// Its text.
    var text: String {
        [
            "counter=\(counter)", "name=\(Self.clean(info.name))", "version=\(Self.clean(info.version))",
            "started=\(info.startedAt)", "connections=\(info.connections)", "channels=\(info.channels)",
            "lease=\(info.leaseMilliseconds)", "policies=\(Self.clean(info.policies))",
        ].joined(separator: "\t")
    }

    init(info: NodeInfo, counter: UInt64) {
        self.info = info
        self.counter = counter
    }

    /// Reads a record; nil without a counter.
    ///
    /// - Parameter id: The node's, under which it was found.
    init?(_ text: String, id: NodeID = "") {
        var values: [Substring: Substring] = [:]
        for part in text.split(separator: "\t") {
            guard let equals = part.firstIndex(of: "=") else { continue }
            values[part[..<equals]] = part[part.index(after: equals)...]
        }
        func number(_ key: Substring, upTo most: Int64) -> Int64 {
            min(max(0, values[key].flatMap { Int64($0) } ?? 0), most)
        }
        guard let counter = values["counter"].flatMap({ UInt64($0) }) else { return nil }
        self.counter = counter
        info = NodeInfo(
            id: id,
            name: String((values["name"] ?? "?").prefix(Self.longestName)),
            version: String((values["version"] ?? "?").prefix(Self.longestName)),
            startedAt: number("started", upTo: Self.latest),
            connections: Int(clamping: number("connections", upTo: .max)),
            channels: Int(clamping: number("channels", upTo: .max)),
            leaseMilliseconds: number("lease", upTo: Self.longestLease),
            policies: String((values["policies"] ?? "").prefix(Self.longestName))
        )
    }

    private static func clean(_ text: String) -> String { String(text.map { $0 == "\t" || $0.isNewline ? " " : $0 }) }
}
