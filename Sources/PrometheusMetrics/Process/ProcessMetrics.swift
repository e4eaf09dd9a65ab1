#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// The `process_*` metrics that every Prometheus client exposes, read from `/proc` at each scrape.
public enum ProcessMetrics {
    /// Name, kind and help of each of them.
    public static let descriptions: [MetricDescription] = [
        MetricDescription(
            name: "process_cpu_seconds_total",
            help: "User and system CPU time spent, in seconds.",
            kind: .counter
        ),
        MetricDescription(name: "process_resident_memory_bytes", help: "Memory in RAM, in bytes.", kind: .gauge),
        MetricDescription(name: "process_virtual_memory_bytes", help: "Address space, in bytes.", kind: .gauge),
        MetricDescription(name: "process_open_fds", help: "Open file descriptors.", kind: .gauge),
        MetricDescription(name: "process_max_fds", help: "The limit on open file descriptors.", kind: .gauge),
        MetricDescription(
            name: "process_start_time_seconds",
            help: "When the process started, in seconds since 1970.",
            kind: .gauge
        ),
    ]

    /// Registers the metrics that this system can tell; where there is no `/proc`, none.
    public static func register(in registry: PrometheusRegistry) {
        if let stat = ProcFile("/proc/self/stat") {
            let ticksPerSecond = Double(max(sysconf(Int32(_SC_CLK_TCK)), 1))
            let pageBytes = Double(max(sysconf(Int32(_SC_PAGESIZE)), 1))
            let sample: @Sendable () -> ProcStat? = { stat.read().flatMap { ProcStat($0) } }

            registry.counter("process_cpu_seconds_total") {
                sample().map { Double($0.cpuTicks) / ticksPerSecond } ?? .nan
            }
            registry.gauge("process_resident_memory_bytes") {
                sample().map { Double($0.residentPages) * pageBytes } ?? .nan
            }
            registry.gauge("process_virtual_memory_bytes") {
                sample().map { Double($0.virtualBytes) } ?? .nan
            }
            if let start = sample(), let boot = Self.bootTime() {
                let startTime = boot + Double(start.startTicks) / ticksPerSecond
                registry.gauge("process_start_time_seconds") { startTime }
            }
        }
        if let limits = ProcFile("/proc/self/limits") {
            registry.gauge("process_max_fds") { limits.read().flatMap { ProcText.maxOpenFiles($0) } ?? .nan }
        }
        if Self.openDescriptors() != nil {
            registry.gauge("process_open_fds") { Self.openDescriptors() ?? .nan }
        }
    }

    /// How many descriptors are open.
    ///
    /// From Linux 6.2 on the size of the directory is their number, which costs one call and no descriptor; before, the
    /// entries are counted.
    private static func openDescriptors() -> Double? {
        let path = "/proc/self/fd"
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        if status.st_size > 0 { return Double(status.st_size) }
        guard let directory = opendir(path) else { return nil }
        defer { closedir(directory) }
        var entries = 0
        while readdir(directory) != nil {
            entries += 1
        }
        // Not counted: `.`, `..` and the descriptor of the directory itself.
        return Double(max(entries - 3, 0))
    }

    /// When the system booted; the file is long on large machines, and needed only once.
    private static func bootTime() -> Double? {
        guard let file = fopen("/proc/stat", "re") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        // Lines longer than the buffer come in pieces, of which none can start like the wanted one: they hold digits.
        while fgets(&line, Int32(line.count), file) != nil {
            let bytes = line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            if let time = ProcText.bootTime(String(decoding: bytes, as: UTF8.self)) { return time }
        }
        return nil
    }
}
