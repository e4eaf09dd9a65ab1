/// One fault of the settings, worded so that a person can fix it.
public struct SettingFault: Error, Equatable, Sendable, CustomStringConvertible {
    /// The variable, file key or flag as the user wrote it.
    public let name: String
    /// The bad value, escaped and shortened for a terminal; redacted when it is secret; nil when there is none.
    public let value: String?
    /// What would have been right; empty where ``advice`` says more.
    public let accepted: String
    /// What to do, as a sentence without its full stop; empty for none.
    public let advice: String
    /// What is wrong.
    public let problem: String

    /// A fault in what `name` says. `value` is the raw text; it is escaped and redacted here.
    init(
        name: String,
        value: String?,
        isSecret: Bool = false,
        problem: String,
        accepted: String = "",
        advice: String = ""
    ) {
        self.name = FaultText.plain(name)
        self.value = value.map { isSecret ? FaultText.redacted : FaultText.quoted($0) }
        self.accepted = accepted
        self.advice = advice
        self.problem = problem
    }

    /// One line: `NAME="value": problem. Accepted: …` or `NAME="value": problem. Advice`.
    public var description: String {
        let written = value.map { "\(name)=\($0)" } ?? name
        let parts = ["\(written): \(problem)", accepted.isEmpty ? "" : "Accepted: \(accepted)", advice]
        return parts.filter { !$0.isEmpty }.joined(separator: ". ")
    }
}

/// Every fault of the settings, at least one.
public struct SettingFaults: Error, Equatable, Sendable, CustomStringConvertible {
    /// The faults: first those of the sources, then those of values in the order of the registry.
    public let faults: [SettingFault]

    /// One fault a line.
    public var description: String {
        faults.map(\.description).joined(separator: "\n")
    }
}

/// Why a text is not a valid value; words that follow the variable's name.
struct ValueProblem: Error, Equatable {
    let message: String

    init(_ message: String) {
        self.message = message
    }
}

/// Makes text from outside fit for a terminal and a log.
enum FaultText {
    static let redacted = "(redacted)"
    private static let longest = 80

    /// `text` in quotes, escaped, shortened, and without a user name and password before an `@` or the query of a URL.
    static func quoted(_ text: String) -> String {
        let safe = withoutQuery(withoutCredentials(text))
        let (shown, isCut) = escaped(safe)
        return isCut ? "\"\(shown)...\" (\(text.utf8.count) bytes)" : "\"\(shown)\""
    }

    /// `text` escaped and shortened, without quotes: for names.
    static func plain(_ text: String) -> String {
        let (shown, isCut) = escaped(text, longest: 300)
        return isCut ? "\(shown)..." : shown
    }

    /// A URL or path without its query, which may hold a key; any other text as it is.
    static func withoutQuery(_ text: String) -> String {
        guard text.hasPrefix("/") || text.contains("://"), let mark = text.firstIndex(of: "?") else { return text }
        return "\(text[...mark])\(redacted)"
    }

    private static func escaped(_ text: String, longest: Int = longest) -> (text: String, isCut: Bool) {
        var result = ""
        var count = 0
        for scalar in text.unicodeScalars {
            guard count < longest else { return (result, true) }
            count += 1
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case " "..."~": result.unicodeScalars.append(scalar)
            // All else could move a terminal's cursor or turn the direction of the text.
            default: result += "\\u{\(String(scalar.value, radix: 16))}"
            }
        }
        return (result, false)
    }

    private static func withoutCredentials(_ text: String) -> String {
        let scalars = text.unicodeScalars
        guard let at = scalars.lastIndex(of: "@"), scalars.contains(":") else { return text }
        let start = text.firstRange(of: "://")?.upperBound ?? text.startIndex
        guard start < at else { return text }
        return "\(text[..<start])***\(text[at...])"
    }
}
