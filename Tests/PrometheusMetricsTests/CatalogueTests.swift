import CoreMetrics
import Metrics
import PrometheusMetrics
import Testing

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#elseif canImport(Darwin)
    import Darwin
#endif

private let promtool: String? = ["/usr/bin/promtool", "/usr/local/bin/promtool"].first { (path: String) in
    access(path, X_OK) == 0
}

@Suite("Catalogue")
struct CatalogueTests {
    /// The catalogue with a series for each name, so that all of it is in the text.
    private func filledRegistry() -> PrometheusRegistry {
        let registry = SidesocketMetricCatalogue.makeRegistry(version: "1.2.3\"\n")
        for description in SidesocketMetricCatalogue.descriptions where description.name.hasPrefix("sidesocket_") {
            if description.name == "sidesocket_build_info" { continue }
            let labels = [("label", "va\"l\\ue\n")]
            switch description.kind {
            case .counter: registry.makeCounter(label: description.name, dimensions: labels).increment(by: 3)
            case .gauge: registry.makeMeter(label: description.name, dimensions: labels).set(Int64(-3))
            case .histogram:
                registry.makeTimer(label: description.name, dimensions: labels).recordNanoseconds(1_500_000_000)
            }
        }
        return registry
    }

    @Test("Every name is there once, every counter ends in _total, every help is a sentence")
    func names() {
        let descriptions = SidesocketMetricCatalogue.descriptions
        #expect(Set(descriptions.map(\.name)).count == descriptions.count)
        for description in descriptions {
            #expect(description.name.hasSuffix("_total") == (description.kind == .counter), "\(description.name)")
            #expect(description.help.hasSuffix("."), "\(description.name)")
        }
    }

    @Test("Every name of the catalogue appears in the text")
    func complete() {
        let text = self.filledRegistry().render(.text004)
        for description in SidesocketMetricCatalogue.descriptions {
            #expect(text.contains("# TYPE \(description.name) "), "\(description.name)")
        }
        #expect(text.contains("sidesocket_build_info{version=\"1.2.3\\\"\\n\"} 1\n"))
        #expect(text.contains("sidesocket_metric_series_refused_total{reason=\"over_limit\"} 0\n"))
    }

    @Test("The longest bucket of connection durations is a day")
    func day() {
        let text = self.filledRegistry().render(.text004)
        #expect(
            text.contains("sidesocket_connection_duration_seconds_bucket{label=\"va\\\"l\\\\ue\\n\",le=\"86400.0\"} 1")
        )
    }

    @Test("promtool check metrics has nothing to say", .enabled(if: promtool != nil))
    func check() throws {
        let path = "/tmp/sidesocket-promtool-\(getpid())"
        try self.write(self.filledRegistry().render(.text004), to: path + ".in")
        defer {
            unlink(path + ".in")
            unlink(path + ".out")
        }
        let tool = try #require(promtool)
        let status = self.run([tool, "check", "metrics"], input: path + ".in", output: path + ".out")
        let complaints = try self.read(path + ".out")
        #expect(complaints == "")
        #expect(status == 0)
    }

    // MARK: Files and processes without Foundation

    private struct SystemError: Error {
        let code = errno
    }

    private func write(_ text: String, to path: String) throws {
        guard let file = fopen(path, "w") else { throw SystemError() }
        defer { fclose(file) }
        guard fputs(text, file) >= 0 else { throw SystemError() }
    }

    private func read(_ path: String) throws -> String {
        guard let file = fopen(path, "r") else { throw SystemError() }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 65_536)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    /// Runs a program with standard input from a file and both outputs to another; returns its wait status.
    private func run(_ arguments: [String], input: String, output: String) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var pointers = arguments.map { strdup($0) } + [nil]
        defer { pointers.forEach { free($0) } }
        var process = pid_t()
        let failure = posix_spawn(&process, arguments[0], &actions, nil, &pointers, environ)
        guard failure == 0 else { return failure }
        var status: Int32 = -1
        waitpid(process, &status, 0)
        return status
    }
}
