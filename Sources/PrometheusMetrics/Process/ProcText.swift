/// Single numbers out of other files of `/proc`.
enum ProcText {
    /// The soft limit of open files from `/proc/self/limits`; infinite when unlimited.
    static func maxOpenFiles(_ limits: String) -> Double? {
        let label = "Max open files"
        guard let line = limits.split(separator: "\n").first(where: { $0.hasPrefix(label) }),
            let soft = line.dropFirst(label.count).split(separator: " ").first
        else { return nil }
        return soft == "unlimited" ? .infinity : Double(soft)
    }

    /// When the system booted, in seconds since 1970, from `/proc/stat`.
    static func bootTime(_ stat: String) -> Double? {
        for line in stat.split(separator: "\n") where line.hasPrefix("btime ") {
            return line.split(separator: " ").dropFirst().first.flatMap { Double($0) }
        }
        return nil
    }
}
