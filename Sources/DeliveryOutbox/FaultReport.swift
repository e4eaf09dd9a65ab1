/// Decides when a fault of writing is worth a sentence: at once, then once per interval at most, with a count.
struct FaultReport {
    /// Nanoseconds between two sentences.
    let interval: UInt64
    private var lastReport: UInt64?
    private var failures = 0
    private var words = ""
    private var toldRefusedRows = 0
    private var toldDroppedRecords = 0

    /// Makes a report that has said nothing yet.
    init(interval: UInt64) {
        self.interval = interval
    }

    /// Takes the outcome of one write, and returns what is to be said now.
    ///
    /// - Parameters:
    ///   - failure: Why the write failed, or nil.
    ///   - refusedRows: All rows refused so far.
    ///   - droppedRecords: All records dropped so far.
    ///   - now: A clock that does not jump, in nanoseconds.
    ///   - isLast: True if there will be no later chance.
    mutating func sentence(
        failure: String?,
        refusedRows: Int,
        droppedRecords: Int,
        now: UInt64,
        isLast: Bool
    ) -> String? {
        if let failure {
            failures += 1
            words = failure
        }
        let refused = refusedRows - toldRefusedRows
        let dropped = droppedRecords - toldDroppedRecords
        guard failures > 0 || refused > 0 || dropped > 0 else { return nil }
        if let lastReport, !isLast, now < lastReport || now - lastReport < interval { return nil }
        lastReport = now
        toldRefusedRows = refusedRows
        toldDroppedRecords = droppedRecords
        defer { failures = 0 }
        var parts: [String] = []
        if failures > 0 { parts.append("\(Self.count(failures, "write")) failed (\(words))") }
        if refused > 0 { parts.append("\(Self.count(refused, "row")) refused") }
        if dropped > 0 { parts.append("\(Self.count(dropped, "record")) dropped") }
        let end = isLast && failure != nil ? "; the last records are lost" : ""
        return "The outbox could not keep everything: \(parts.joined(separator: ", "))\(end)."
    }

    private static func count(_ number: Int, _ noun: String) -> String {
        number == 1 ? "1 \(noun)" : "\(number) \(noun)s"
    }
}
