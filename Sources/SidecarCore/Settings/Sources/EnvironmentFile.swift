import HTTP1

/// Reads a file of environment variables as systemd does (`EnvironmentFile=` in systemd.exec(5)).
///
/// `NAME=value` lines; empty lines and those that begin with `#` or `;` are ignored. A value may be in single or
/// double quotes, over several lines too; outside of single quotes a backslash at the end of a line joins it with the
/// next. If a variable is given twice, the last one counts. Nothing is expanded.
public struct EnvironmentFile: Sendable, Equatable {
    /// A line that does not mean what it looks like.
    public struct Fault: Error, Sendable, Equatable {
        /// Counted from 1.
        public let line: Int
        /// What is wrong with it; it repeats nothing of the line, which may hold a secret.
        public let problem: String
    }

    /// The variables of all names.
    public private(set) var variables: [String: String] = [:]
    /// Faults of lines that seem to be about our settings.
    public private(set) var faults: [Fault] = []

    private enum State {
        case beforeKey, key, beforeValue, value, escape, singleQuotes, doubleQuotes, escapeInQuotes, comment
        case escapeInComment
    }

    private var state = State.beforeKey
    private var key: [UInt8] = []
    private var value: [UInt8] = []
    /// The length of the value without trailing space.
    private var kept = 0
    private var line = 1
    private var firstLine = 1

    /// Reads a whole file.
    public init(_ bytes: [UInt8]) {
        for byte in bytes {
            take(byte)
            if byte == Self.lineFeed { line += 1 }
        }
        switch state {
        case .singleQuotes, .doubleQuotes, .escapeInQuotes: if isAboutUs { fault("has a quote that is not closed") }
        case .escape: end()
        case .beforeKey, .key, .beforeValue, .value, .comment, .escapeInComment: take(Self.lineFeed)
        }
    }

    private mutating func take(_ byte: UInt8) {
        switch state {
        case .beforeKey:
            if byte == UInt8(ascii: "#") || byte == UInt8(ascii: ";") {
                state = .comment
            } else if !Self.isSpace(byte) {
                (key, firstLine, state) = ([byte], line, .key)
            }
        case .key:
            if byte == Self.lineFeed {
                endWithoutValue()
            } else if byte == UInt8(ascii: "=") {
                (value, kept, state) = ([], 0, .beforeValue)
            } else {
                key.append(byte)
            }
        case .beforeValue: begin(byte)
        case .value:
            if byte == Self.lineFeed {
                end()
            } else if byte == UInt8(ascii: "\\") {
                state = .escape
            } else {
                append(byte, isSpace: Self.isSpace(byte))
            }
        case .escape:
            state = .value
            if byte != Self.lineFeed { append(byte) }
        case .singleQuotes:
            if byte == UInt8(ascii: "'") { state = .beforeValue } else { append(byte) }
        case .doubleQuotes:
            if byte == UInt8(ascii: "\"") {
                state = .beforeValue
            } else if byte == UInt8(ascii: "\\") {
                state = .escapeInQuotes
            } else {
                append(byte)
            }
        case .escapeInQuotes:
            state = .doubleQuotes
            if byte == Self.lineFeed { return }
            if !Self.isEscapedInQuotes(byte) { append(UInt8(ascii: "\\")) }
            append(byte)
        case .comment:
            if byte == UInt8(ascii: "\\") {
                state = .escapeInComment
            } else if byte == Self.lineFeed {
                state = .beforeKey
            }
        case .escapeInComment:
            state = .comment
        }
    }

    private mutating func begin(_ byte: UInt8) {
        switch byte {
        case Self.lineFeed: end()
        case UInt8(ascii: "'"): state = .singleQuotes
        case UInt8(ascii: "\""): state = .doubleQuotes
        case UInt8(ascii: "\\"): state = .escape
        case _ where Self.isSpace(byte): break
        default:
            state = .value
            append(byte)
        }
    }

    private mutating func append(_ byte: UInt8, isSpace: Bool = false) {
        value.append(byte)
        if !isSpace { kept = value.count }
    }

    private mutating func end() {
        state = .beforeKey
        let name = Self.trimmed(key)
        guard Self.isName(name) else {
            // systemd ignores such a line and only mentions it in its own log.
            if isAboutUs { fault("has no variable name before the equals sign; export is not allowed here") }
            return
        }
        let bytes = value.prefix(kept)
        guard let text = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            if isAboutUs { fault("has a value that is not valid UTF-8") }
            return
        }
        variables[String(decoding: name, as: UTF8.self)] = text
    }

    private mutating func endWithoutValue() {
        state = .beforeKey
        if isAboutUs { fault("has no equals sign") }
    }

    private var isAboutUs: Bool { String(decoding: key, as: UTF8.self).contains(SettingsRegistry.prefix) }

    private mutating func fault(_ problem: String) {
        guard faults.count < Self.mostFaults else { return }
        faults.append(Fault(line: firstLine, problem: problem))
    }

    private static let mostFaults = 100
    private static let lineFeed = UInt8(ascii: "\n")

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }

    private static func isEscapedInQuotes(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || byte == UInt8(ascii: "`")
            || byte == UInt8(ascii: "$")
    }

    private static func trimmed(_ key: [UInt8]) -> ArraySlice<UInt8> {
        key[..<((key.lastIndex { !isSpace($0) } ?? -1) + 1)]
    }

    private static func isName(_ name: ArraySlice<UInt8>) -> Bool {
        guard let first = name.first, !HTTPField.isDigit(first) else { return false }
        return name.allSatisfy { HTTPField.isLetter($0) || HTTPField.isDigit($0) || $0 == UInt8(ascii: "_") }
    }
}

extension RawSettings {
    /// Adds the variables of a file instead of the process's environment.
    public mutating func add(environmentFile bytes: [UInt8], path: String) {
        let file = EnvironmentFile(bytes)
        for fault in file.faults {
            add(
                fault: SettingFault(
                    name: "\(path), line \(fault.line)",
                    value: nil,
                    problem: fault.problem,
                    accepted: "NAME=value, as systemd reads it"
                )
            )
        }
        add(environment: file.variables)
    }

    /// Records that the file of `--env-file` was not named or could not be read.
    public mutating func addUnreadableEnvironmentFile(path: String?, reason: String) {
        noteMissingFile()
        add(
            fault: SettingFault(
                name: "--env-file",
                value: path,
                problem: reason,
                accepted: "the path of a file with NAME=value lines"
            )
        )
    }
}
