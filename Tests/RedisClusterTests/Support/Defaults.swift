import Logging
import NIOCore
import RedisCluster
import SidecarCore

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

extension ClusterNodeSettings {
    /// A cluster of its own.
    static var test: ClusterNodeSettings {
        var settings = ClusterNodeSettings(
            Settings(app: .tcp(host: "127.0.0.1", port: 9, tls: false)),
            nodeName: "test"
        )
        settings.prefix = "test-\(UInt64.random(in: 0 ... .max))"
        return settings
    }
}

extension NodeInfo {
    static func test(_ name: String) -> NodeInfo {
        NodeInfo(name: name, version: "1", startedAt: 0, connections: 0, channels: 0, leaseMilliseconds: 0)
    }
}

extension Logger {
    /// Writes nothing.
    static let silent = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
}

enum TestClock {
    static func unixMilliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }
}
