import CoreMetrics
import Metrics
import PrometheusMetrics
import Testing

@Suite("Registry")
struct RegistryTests {
    private let registry = PrometheusRegistry(descriptions: [
        MetricDescription(name: "things_total", help: "Things.", kind: .counter),
        MetricDescription(name: "level", help: "Level.", kind: .gauge),
        MetricDescription(name: "size_bytes", help: "Sizes.", kind: .histogram(buckets: [1, 2.5])),
    ])

    private var lines: [Substring] { self.registry.render(.text004).split(separator: "\n") }

    private func counter(_ name: String, _ labels: [(String, String)] = []) -> Counter {
        Counter(label: name, dimensions: labels, factory: self.registry)
    }

    @Test("A registry without series renders nothing, and only the end mark in OpenMetrics")
    func empty() {
        #expect(self.registry.render(.text004) == "")
        #expect(self.registry.render(.openMetrics) == "# EOF\n")
    }

    @Test("Families are sorted by name and say HELP and TYPE once each")
    func families() {
        self.counter("things_total", [("kind", "b")]).increment(by: 2)
        self.counter("things_total", [("kind", "a")]).increment()
        Meter(label: "level", factory: self.registry).set(1.5)
        #expect(
            self.registry.render(.text004) == """
                # HELP level Level.
                # TYPE level gauge
                level 1.5
                # HELP things_total Things.
                # TYPE things_total counter
                things_total{kind="a"} 1
                things_total{kind="b"} 2

                """
        )
    }

    @Test("OpenMetrics names counter families without the suffix and ends with EOF")
    func openMetrics() {
        self.counter("things_total").increment()
        #expect(
            self.registry.render(.openMetrics) == """
                # HELP things Things.
                # TYPE things counter
                things_total 1
                # EOF

                """
        )
    }

    @Test("The same name and labels are one series, whatever the order of the labels")
    func sameSeries() {
        let first = self.registry.makeCounter(label: "things_total", dimensions: [("a", "1"), ("b", "2")])
        let second = self.registry.makeCounter(label: "things_total", dimensions: [("b", "2"), ("a", "1")])
        #expect(first === second)
    }

    @Test("Label values are escaped, also a line feed inside of CR LF")
    func escaping() {
        self.counter("things_total", [("v", "a\"b\\c\nd\r\ne")]).increment()
        #expect(self.registry.render(.text004).contains("things_total{v=\"a\\\"b\\\\c\\nd\r\\ne\"} 1\n"))
    }

    @Test("Names and label names that are not valid are made valid")
    func names() {
        self.counter("9 lives.total", [("bad-name", "1"), ("bad.name", "2"), ("", "3")]).increment()
        #expect(self.lines.contains("_9_lives_total{_=\"3\",bad_name=\"1\"} 1"))
        Timer(label: "t", dimensions: [("le", "x")], factory: self.registry).recordSeconds(1)
        #expect(self.lines.contains("t_bucket{le_=\"x\",le=\"+Inf\"} 1"))
    }

    @Test("A metric that nobody described works, and a counter gets the suffix that OpenMetrics demands")
    func undescribed() {
        self.counter("hits").increment()
        self.counter("hits_total").increment()
        #expect(self.lines == ["# HELP hits_total Not described.", "# TYPE hits_total counter", "hits_total 2"])
    }

    @Test("Counters take whole numbers and fractions, and never fall")
    func counters() {
        let whole = self.registry.makeCounter(label: "things_total", dimensions: [])
        let fraction = self.registry.makeFloatingPointCounter(label: "things_total", dimensions: [])
        #expect(whole === fraction)
        whole.increment(by: 2)
        whole.increment(by: -5)
        whole.increment(by: 0)
        #expect(self.lines.last == "things_total 2")
        for amount in [0.25, -1, .nan, .infinity] {
            fraction.increment(by: amount)
        }
        #expect(self.lines.last == "things_total 2.25")
        whole.reset()
        #expect(self.lines.last == "things_total 0")
        whole.increment(by: 9_007_199_254_740_993)
        #expect(self.lines.last == "things_total 9007199254740993")
    }

    @Test("Gauges are set and moved; amounts that are no numbers don't poison them")
    func gauges() {
        let meter = self.registry.makeMeter(label: "level", dimensions: [])
        meter.set(Int64(5))
        meter.increment(by: 2.5)
        meter.decrement(by: 10)
        meter.increment(by: .nan)
        meter.decrement(by: .infinity)
        #expect(self.lines.last == "level -2.5")
        let gauge = Gauge(label: "level", factory: self.registry)
        gauge.record(7)
        #expect(self.lines.last == "level 7")
        gauge.record(-Double.infinity)
        #expect(self.lines.last == "level -Inf")
        gauge.record(1e300)
        #expect(self.lines.last == "level 1e+300")
    }

    @Test("A histogram counts a value in the first bucket whose bound is not below it")
    func histogram() {
        let recorder = Recorder(label: "size_bytes", factory: self.registry)
        for value in [0.5, 1, 1.5, 2.5, 2.6, -1] {
            recorder.record(value)
        }
        recorder.record(Double.nan)
        recorder.record(Double.infinity)
        #expect(
            self.lines.suffix(5) == [
                "size_bytes_bucket{le=\"1.0\"} 3",
                "size_bytes_bucket{le=\"2.5\"} 5",
                "size_bytes_bucket{le=\"+Inf\"} 6",
                "size_bytes_sum 7.1",
                "size_bytes_count 6",
            ]
        )
    }

    @Test("A timer records seconds; a bound is met exactly, and a clock that went back counts as zero")
    func timer() {
        let timer = Timer(label: "took_seconds", dimensions: [("x", "y")], factory: self.registry)
        timer.recordMilliseconds(100)
        timer.recordNanoseconds(100_000_001)
        timer.recordNanoseconds(-5)
        timer.recordNanoseconds(Int64.max)
        #expect(self.lines.contains("took_seconds_bucket{x=\"y\",le=\"0.1\"} 2"))
        #expect(self.lines.contains("took_seconds_bucket{x=\"y\",le=\"0.25\"} 3"))
        #expect(self.lines.contains("took_seconds_count{x=\"y\"} 4"))
    }

    @Test("Buckets are sorted, and repeated or infinite ones dropped")
    func buckets() {
        let registry = PrometheusRegistry(descriptions: [
            MetricDescription(name: "h", help: "H.", kind: .histogram(buckets: [2, 1, 2, .infinity, .nan]))
        ])
        Recorder(label: "h", factory: registry).record(1)
        let bounds = registry.render(.text004).split(separator: "\n").filter { $0.hasPrefix("h_bucket") }
        #expect(bounds == ["h_bucket{le=\"1.0\"} 1", "h_bucket{le=\"2.0\"} 1", "h_bucket{le=\"+Inf\"} 1"])
    }

    @Test("Beyond the bound of series per name all further labels share one", arguments: [-1, 0, 1, 5])
    func bound(beyond: Int) {
        let asked = PrometheusRegistry.maxSeriesPerName + beyond
        for index in 0..<asked {
            self.counter("things_total", [("id", "\(index)")]).increment()
        }
        let samples = self.lines.filter { !$0.hasPrefix("#") }
        #expect(samples.count == PrometheusRegistry.maxSeriesPerName + min(beyond, 1))
        #expect(samples.contains("things_total{id=\"other\"} \(beyond)") == (beyond > 0))
        #expect(self.registry.refusedSeries.overLimit == max(beyond, 0))
        // Those that came early keep their own.
        #expect(self.registry.makeCounter(label: "things_total", dimensions: [("id", "0")]) !== self.overflow())
        #expect(self.lines.filter { !$0.hasPrefix("#") }.count <= PrometheusRegistry.maxSeriesPerName + 1)
    }

    private func overflow() -> any CounterHandler {
        self.registry.makeCounter(label: "things_total", dimensions: [("id", "other")])
    }

    @Test("A series asked for as another kind works, is counted and stays out of the text")
    func wrongKind() {
        Meter(label: "things_total", factory: self.registry).set(1)
        Timer(label: "level", factory: self.registry).recordSeconds(1)
        self.registry.gauge("size_bytes") { 1 }
        #expect(self.registry.refusedSeries.wrongKind == 3)
        #expect(self.registry.refusedSeries.overLimit == 0)
        #expect(!self.registry.render(.text004).contains("size_bytes"))
    }

    @Test("A destroyed series is gone, and asked for again starts from zero")
    func destroy() {
        let counter = self.counter("things_total", [("a", "1")])
        counter.increment()
        counter.destroy()
        #expect(self.registry.render(.text004) == "")
        let again = self.counter("things_total", [("a", "1")])
        // The old handler no longer owns the labels.
        counter.destroy()
        again.increment()
        #expect(self.lines.last == "things_total{a=\"1\"} 1")
        Timer(label: "t", factory: self.registry).destroy()
        Gauge(label: "level", factory: self.registry).destroy()
        Meter(label: "level", factory: self.registry).destroy()
        FloatingPointCounter(label: "f", factory: self.registry).destroy()
        #expect(self.lines.count == 3)
    }

    @Test("The shared series of a full name can't be destroyed")
    func destroyShared() {
        for index in 0...PrometheusRegistry.maxSeriesPerName {
            self.counter("things_total", [("id", "\(index)")]).increment()
        }
        self.counter("things_total", [("id", "x")]).destroy()
        #expect(self.lines.contains("things_total{id=\"other\"} 1"))
    }

    @Test("A callback is read at each scrape, may be replaced, and NaN leaves it out")
    func callbacks() {
        self.registry.gauge("level", labels: [("a", "1")]) { 3 }
        #expect(self.lines.last == "level{a=\"1\"} 3")
        self.registry.gauge("level", labels: [("a", "1")]) { .nan }
        #expect(self.lines.last == "# TYPE level gauge")
        self.registry.counter("things_total") { 0.5 }
        #expect(self.lines.last == "things_total 0.5")
    }

    @Test("A callback may use the registry")
    func reentrant() {
        let registry = self.registry
        registry.gauge("level") { Double(registry.refusedSeries.overLimit) }
        #expect(self.lines.last == "level 0")
    }

    @Test("Help is escaped")
    func help() {
        let registry = PrometheusRegistry(descriptions: [
            MetricDescription(name: "a_total", help: "x\ny\\z\"q", kind: .counter)
        ])
        Counter(label: "a_total", factory: registry).increment()
        #expect(registry.render(.text004).hasPrefix("# HELP a_total x\\ny\\\\z\"q\n"))
        #expect(registry.render(.openMetrics).hasPrefix("# HELP a x\\ny\\\\z\\\"q\n"))
    }

    @Test("Records from many threads at once are all counted")
    func concurrency() async {
        let counter = self.counter("things_total")
        let recorder = Recorder(label: "size_bytes", factory: self.registry)
        let meter = Meter(label: "level", factory: self.registry)
        await withTaskGroup(of: Void.self) { tasks in
            for _ in 0..<8 {
                tasks.addTask {
                    for _ in 0..<1_000 {
                        counter.increment()
                        recorder.record(2)
                        meter.increment()
                        _ = self.registry.makeCounter(label: "things_total", dimensions: [("x", "y")])
                    }
                    _ = self.registry.render(.text004)
                }
            }
        }
        #expect(self.lines.contains("things_total 8000"))
        #expect(self.lines.contains("size_bytes_sum 16000"))
        #expect(self.lines.contains("size_bytes_count 8000"))
        #expect(self.lines.contains("level 8000"))
    }
}
