/// What `/proc/self/stat` tells, parsed (proc(5)).
struct ProcStat: Equatable {
    /// CPU time in user and system mode, in clock ticks.
    var cpuTicks: UInt64
    /// When the process started, in clock ticks since boot.
    var startTicks: UInt64
    var virtualBytes: UInt64
    var residentPages: UInt64

    init?(_ text: String) {
        // The second field is the command in parentheses, which may itself contain spaces and parentheses.
        guard let end = text.lastIndex(of: ")") else { return nil }
        let fields = text[text.index(after: end)...].split { $0 == " " || $0 == "\n" }
        /// Fields are numbered from 1 in proc(5), and the two up to the command are cut off.
        func field(_ number: Int) -> UInt64? {
            fields.indices.contains(number - 3) ? UInt64(fields[number - 3]) : nil
        }
        guard let user = field(14), let system = field(15), let start = field(22), let virtual = field(23),
            let resident = field(24)
        else { return nil }
        self.cpuTicks = user &+ system
        self.startTicks = start
        self.virtualBytes = virtual
        self.residentPages = resident
    }
}
