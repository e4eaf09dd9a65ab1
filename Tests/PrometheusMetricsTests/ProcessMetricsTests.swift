import Testing

@testable import PrometheusMetrics

@Suite("Process metrics")
struct ProcessMetricsTests {
    /// Fields 4 to 26 of proc(5), numbered so that a wrong index shows.
    private let tail = "4 5 6 7 8 9 10 11 12 13 140 15 16 17 18 19 20 21 2200 230000 24 25 26"

    @Test("The status line is read behind the last parenthesis of the command", arguments: ["app", "a) R (b c", ""])
    func stat(command: String) throws {
        let stat = try #require(ProcStat("1 (\(command)) S \(self.tail)\n"))
        #expect(stat.cpuTicks == 155)
        #expect(stat.startTicks == 2_200)
        #expect(stat.virtualBytes == 230_000)
        #expect(stat.residentPages == 24)
    }

    @Test(
        "A status line that is short or no status line is refused",
        arguments: ["", "1 (a", ")", "1 (a) S 4 5", "1 (a) S -"]
    )
    func badStat(text: String) {
        #expect(ProcStat(text) == nil)
    }

    @Test("Every shorter status line is refused, never read beyond its end")
    func cutStat() {
        let whole = "1 (app) S 4 5 6 7 8 9 10 11 12 13 140 15 16 17 18 19 20 21 2200 230000 24"
        #expect(ProcStat(whole) != nil)
        for length in 0..<(whole.count - 2) {
            #expect(ProcStat(String(whole.prefix(length))) == nil)
        }
    }

    @Test("The soft limit of open files is read, also when there is none")
    func limits() {
        let line = "Max open files            1024                 524288               files\n"
        #expect(ProcText.maxOpenFiles("Limit  Soft Limit\n" + line) == 1_024)
        #expect(ProcText.maxOpenFiles("Max open files   unlimited  unlimited files") == .infinity)
        #expect(ProcText.maxOpenFiles("Max open files") == nil)
        #expect(ProcText.maxOpenFiles("") == nil)
    }

    @Test("The boot time is read")
    func bootTime() {
        #expect(ProcText.bootTime("cpu 1 2 3\nintr 5\nbtime 1700000000\nprocesses 7") == 1_700_000_000)
        #expect(ProcText.bootTime("btime") == nil)
        #expect(ProcText.bootTime("cpu 1 2 3") == nil)
    }

    #if os(Linux)
        @Test("All of them are exposed with plausible values")
        func plausible() throws {
            let registry = PrometheusRegistry(descriptions: ProcessMetrics.descriptions)
            ProcessMetrics.register(in: registry)
            let samples = registry.render(.text004).split(separator: "\n").filter { !$0.hasPrefix("#") }
            var values: [String: Double] = [:]
            for sample in samples {
                let parts = sample.split(separator: " ")
                values[String(parts[0])] = Double(parts[1])
            }
            #expect(Set(values.keys) == Set(ProcessMetrics.descriptions.map(\.name)))
            let resident = try #require(values["process_resident_memory_bytes"])
            #expect(resident > 1_000_000)
            let virtual = try #require(values["process_virtual_memory_bytes"])
            #expect(virtual >= resident)
            let open = try #require(values["process_open_fds"])
            #expect(open >= 3)
            let most = try #require(values["process_max_fds"])
            #expect(most >= open)
            let start = try #require(values["process_start_time_seconds"])
            #expect(start > 1_500_000_000)
        }
    #endif
}
