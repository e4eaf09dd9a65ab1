/// Where a value was written; if there are two for one variable, the later of these kinds wins.
public enum SettingOrigin: Sendable, Equatable {
    /// A line of the file that `CONFIG` names.
    case file(path: String, line: Int)
    /// An environment variable.
    case environment
    /// A command-line flag.
    case flag

    var rank: Int {
        switch self {
        case .file: 0
        case .environment: 1
        case .flag: 2
        }
    }
}
