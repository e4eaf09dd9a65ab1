public import NIOCore

/// What a service manager such as systemd has asked for, and its socket (sd_notify(3)).
public struct ServiceManager: Sendable, Equatable {
    /// The name of its socket as the kernel takes it: a path, or a zero byte and an abstract name.
    public let socketName: [UInt8]
    /// How often the watchdog has to be notified; nil without a watchdog.
    public let watchdogInterval: TimeAmount?
    /// Requests that cannot be fulfilled; sentences without their full stop.
    public let faults: [String]

    /// The longest socket name that Linux takes, in bytes.
    static let longestName = 107

    /// Reads `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`; nil when there is no manager.
    ///
    /// - Parameters:
    ///   - environment: The process's variables.
    ///   - processID: Its own number.
    public init?(_ environment: [String: String], processID: Int32) {
        guard let address = environment["NOTIFY_SOCKET"], !address.isEmpty else { return nil }
        var faults: [String] = []
        let bytes = Array(address.utf8)
        switch bytes.first {
        case UInt8(ascii: "/") where bytes.count <= Self.longestName: socketName = bytes
        case UInt8(ascii: "@") where 2...Self.longestName ~= bytes.count: socketName = [0] + bytes.dropFirst()
        default:
            socketName = []
            faults.append("NOTIFY_SOCKET is neither a path nor an abstract name of at most \(Self.longestName) bytes")
        }
        watchdogInterval = Self.watchdog(environment, processID, &faults)
        self.faults = faults
    }

    private static func watchdog(
        _ environment: [String: String],
        _ processID: Int32,
        _ faults: inout [String]
    ) -> TimeAmount? {
        guard let text = environment["WATCHDOG_USEC"] else { return nil }
        if let process = environment["WATCHDOG_PID"], process != "\(processID)" { return nil }
        guard let microseconds = Int64(text), microseconds > 0 else {
            faults.append("WATCHDOG_USEC is not a number of microseconds")
            return nil
        }
        // Twice within the manager's timeout, and no more than a day.
        return .microseconds(min(max(microseconds / 2, 1_000), 86_400_000_000))
    }
}

/// The states of the process as reported to its service manager, in an order that it accepts.
public struct ServiceReport: Sendable, Equatable {
    private enum Phase {
        case starting, ready, reloading, stopping
    }

    private var phase = Phase.starting

    /// Starts before anything listens.
    public init() {}

    /// The process listens on all addresses.
    public mutating func ready(_ status: String) -> String? {
        guard phase == .starting else { return nil }
        phase = .ready
        return Self.text("READY=1", status)
    }

    /// The settings are read again.
    ///
    /// - Parameter microseconds: The monotonic clock, by which the manager tells one reload from another.
    public mutating func reloading(at microseconds: Int64, _ status: String) -> String? {
        guard phase == .ready || phase == .reloading else { return nil }
        phase = .reloading
        return Self.text("RELOADING=1\nMONOTONIC_USEC=\(microseconds)", status)
    }

    /// The reload has ended, successfully or not.
    public mutating func reloaded(_ status: String) -> String? {
        guard phase == .reloading else { return nil }
        phase = .ready
        return Self.text("READY=1", status)
    }

    /// The process begins to shut down; nothing is reported after that.
    public mutating func stopping(_ status: String) -> String? {
        guard phase != .stopping else { return nil }
        phase = .stopping
        return Self.text("STOPPING=1", status)
    }

    private static func text(_ state: String, _ status: String) -> String {
        // Must be one line, whatever an address is called.
        "\(state)\nSTATUS=\(String(status.map { $0.isNewline ? " " : $0 }))"
    }
}
