import Logging
import NIOCore
import ServiceLifecycle
import SidecarCore
import SidecarServer
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

/// Tells a service manager such as systemd how the process is doing (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
///
/// Sending never waits: a manager that does not read loses what it is sent.
final class ServiceNotifier: Service, CustomStringConvertible {
    private let manager: ServiceManager
    private let descriptor: CInt
    private let report = Mutex(ServiceReport())
    private let logger: Logger
    private let listeners: Int
    private let listening = Atomic<Int>(0)
    private let edge: EdgeService
    private let status: String

    var description: String { "ServiceNotifier" }

    /// Nil without a manager that can be reached.
    init?(_ settings: Settings, edge: EdgeService, logger: Logger) {
        guard let manager = ServiceManager(SettingsSources.environment(), processID: getpid()) else { return nil }
        for fault in manager.faults {
            logger.warning("cannot notify the service manager", metadata: ["why": "\(fault)"])
        }
        guard !manager.socketName.isEmpty else { return nil }
        descriptor = Self.makeSocket()
        guard descriptor >= 0 else { return nil }
        self.manager = manager
        self.edge = edge
        self.logger = logger
        listeners = settings.controlListen.count
        status = "Serving on \(settings.listen.map { "\($0)" }.joined(separator: ", "))"
    }

    deinit { close(descriptor) }

    /// One more address of the control listener accepts connections.
    func controlListens() { listening.add(1, ordering: .relaxed) }

    func reloading() {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let microseconds = Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
        tell { $0.reloading(at: microseconds, "Reading the settings again") }
    }

    func reloaded() { tell { [status] in $0.reloaded(status) } }
    func stopping() { tell { $0.stopping("Draining") } }

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while !self.isListening {
                guard (try? await Task.sleep(for: .milliseconds(5))) != nil else { return }
            }
            self.tell { [status = self.status] in $0.ready(status) }
            await self.feedWatchdog()
        }
        // The group takes a service that ends while others are being stopped for one that has failed.
        try? await gracefulShutdown()
    }

    private var isListening: Bool {
        edge.state.isListening && listening.load(ordering: .relaxed) >= listeners
    }

    /// Each beat has been through every event loop: when one is stuck there is none.
    private func feedWatchdog() async {
        guard let interval = manager.watchdogInterval else { return }
        let pause = Duration.nanoseconds(interval.nanoseconds)
        var next = ContinuousClock.now
        while !Task.isCancelled {
            await edge.passThroughLoops()
            send("WATCHDOG=1")
            next = max(next + pause, ContinuousClock.now)
            guard (try? await Task.sleep(until: next, clock: .continuous)) != nil else { return }
        }
    }

    private func tell(_ change: (inout ServiceReport) -> String?) {
        // Under the lock, so that no state overtakes another.
        report.withLock { report in
            if let text = change(&report) { send(text) }
        }
    }

    private func send(_ text: String) {
        var text = text
        let code = text.withUTF8 { Self.send($0, to: manager.socketName, on: descriptor) }
        if code != 0 {
            logger.debug(
                "cannot reach the service manager",
                metadata: ["why": "\(strerror(code).map { String(cString: $0) } ?? "error \(code)")"]
            )
        }
    }

    private static func makeSocket() -> CInt {
        #if canImport(Glibc)
            let descriptor = socket(AF_UNIX, CInt(SOCK_DGRAM.rawValue), 0)
        #else
            let descriptor = socket(AF_UNIX, SOCK_DGRAM, 0)
        #endif
        if descriptor >= 0 { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
        return descriptor
    }

    /// Returns 0, or the error of the system.
    private static func send(_ text: UnsafeBufferPointer<UInt8>, to name: [UInt8], on descriptor: CInt) -> CInt {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let fits = withUnsafeMutableBytes(of: &address.sun_path) { path in
            // The last byte stays zero.
            guard name.count < path.count else { return false }
            path.copyBytes(from: name)
            return true
        }
        guard fits, let before = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) else { return ENAMETOOLONG }
        let length = socklen_t(before + name.count)
        #if canImport(Darwin)
            let flags = CInt(MSG_DONTWAIT)
        #else
            let flags = CInt(truncatingIfNeeded: MSG_DONTWAIT) | CInt(truncatingIfNeeded: MSG_NOSIGNAL)
        #endif
        let sent = withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, text.baseAddress, text.count, flags, $0, length)
            }
        }
        return sent < 0 ? errno : 0
    }
}
