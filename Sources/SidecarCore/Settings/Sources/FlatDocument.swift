/// A settings file as keys and texts: the common result of reading JSON and YAML.
struct FlatDocument: Equatable {
    /// One key with its value, as written.
    struct Entry: Equatable {
        var key: String
        var value: Value
        /// Counted from 1.
        var line: Int
    }

    /// A scalar's text, or the texts of a list's items.
    enum Value: Equatable {
        case scalar(String)
        case list([String])

        /// The text as an environment variable would give it.
        var text: String {
            switch self {
            case .scalar(let text): text
            case .list(let items): items.joined(separator: ",")
            }
        }

        var isList: Bool {
            switch self {
            case .scalar: false
            case .list: true
            }
        }
    }

    /// A line that could not be read.
    struct Fault: Equatable, Error {
        var line: Int
        var problem: String
        var accepted: String
    }

    var entries: [Entry] = []
    var faults: [Fault] = []
}
