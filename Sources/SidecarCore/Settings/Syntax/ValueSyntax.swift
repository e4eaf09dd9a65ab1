import HTTP1
internal import NIOCore

/// The syntax of one kind of value: how it is read and shown.
struct ValueSyntax<Value: Sendable>: Sendable {
    /// What a user may write, in words.
    let accepted: String
    /// Whether a file may give a list.
    var takesList = false
    /// Whether the empty text is valid too.
    var takesEmpty = false
    let read: @Sendable (String) throws(ValueProblem) -> Value
    /// The value in its shortest written form, which ``read`` takes back.
    let show: @Sendable (Value) -> String
    /// For secrets that are shown in part: the value without what is secret in it. The problems that ``read`` throws
    /// are shown too, so they must not quote what was written.
    var redacted: (@Sendable (Value) -> String)?
}

extension ValueSyntax where Value == Bool {
    static let boolean = ValueSyntax(
        accepted: "true or false (also on/off, yes/no, 1/0)",
        read: { text throws(ValueProblem) in
            switch text.lowercased() {
            case "true", "on", "yes", "1": return true
            case "false", "off", "no", "0": return false
            default: throw ValueProblem("is neither true nor false")
            }
        },
        show: { $0 ? "true" : "false" }
    )
}

extension ValueSyntax where Value == Int {
    /// A whole number within `range`; `off` stands for ``Settings/unlimited`` where it is allowed.
    static func count(_ range: ClosedRange<Int>, off: Bool = false) -> ValueSyntax {
        ValueSyntax(
            accepted: "a whole number from \(range.lowerBound) to \(range.upperBound)\(off ? ", or off" : "")",
            read: { text throws(ValueProblem) in
                if off, text.lowercased() == "off" { return Settings.unlimited }
                guard text.utf8.allSatisfy(HTTPField.isDigit) else { throw ValueProblem("is not a whole number") }
                return try within(range, WholeNumber.read(Substring(text)), show: { "\($0)" })
            },
            show: { $0 == Settings.unlimited ? "off" : "\($0)" }
        )
    }

    /// A number of bytes within `range`, plain or with a unit; `off` stands for ``Settings/unlimited`` where it is
    /// allowed.
    static func size(_ range: ClosedRange<Int>, off: Bool = false) -> ValueSyntax {
        ValueSyntax(
            accepted: "a size from \(showSize(range.lowerBound)) to \(showSize(range.upperBound)), "
                + "such as 512, 64KiB, 1MiB (also GiB, KB, MB, GB)\(off ? ", or off" : "")",
            read: { text throws(ValueProblem) in
                if off, text.lowercased() == "off" { return Settings.unlimited }
                let (number, unit) = try numberAndUnit(text)
                guard let factor = sizeUnits.first(where: { $0.name == unit })?.bytes else {
                    throw ValueProblem("has no unit of bytes (KiB, MiB, GiB, KB, MB, GB) after its number")
                }
                return try within(range, multiplied(number, factor), show: showSize)
            },
            show: { $0 == Settings.unlimited ? "off" : showSize($0) }
        )
    }
}

extension ValueSyntax where Value == TimeAmount {
    /// A duration within `range`; `off` stands for ``Settings/never`` where it is allowed.
    static func duration(_ range: ClosedRange<TimeAmount>, off: Bool = false) -> ValueSyntax {
        ValueSyntax(
            accepted: "a duration from \(showDuration(range.lowerBound)) to \(showDuration(range.upperBound)), "
                + "such as 500ms, 10s, 5m, 1h\(off ? ", or off" : "")",
            read: { text throws(ValueProblem) in
                if off, text.lowercased() == "off" { return Settings.never }
                let (number, unit) = try numberAndUnit(text)
                guard let factor = durationUnits.first(where: { $0.name == unit })?.nanoseconds else {
                    throw ValueProblem("has no unit of time (ms, s, m, h) after its number")
                }
                let nanoseconds = multiplied(number, factor).map { TimeAmount.nanoseconds(Int64($0)) }
                return try within(range, nanoseconds, show: showDuration)
            },
            show: showDuration
        )
    }
}

extension ValueSyntax where Value == TimeAmount {
    /// A duration within `range`; `off` stands for none at all.
    static func durationOrZero(_ range: ClosedRange<TimeAmount>) -> ValueSyntax {
        let some = duration(range)
        return ValueSyntax(
            accepted: "\(some.accepted), or off",
            read: { text throws(ValueProblem) in text.lowercased() == "off" ? .zero : try some.read(text) },
            show: { $0 == .zero ? "off" : some.show($0) }
        )
    }
}

extension ValueSyntax where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    /// One of an enum's words.
    static var choice: ValueSyntax { choice(of: Array(Value.allCases)) }

    /// One of these words of an enum.
    static func choice(of values: [Value]) -> ValueSyntax {
        ValueSyntax(
            accepted: values.map(\.rawValue).joined(separator: ", "),
            read: { text throws(ValueProblem) in
                let word = text.lowercased()
                guard let value = values.first(where: { $0.rawValue == word }) else {
                    throw ValueProblem("is not one of the accepted values")
                }
                return value
            },
            show: { $0.rawValue }
        )
    }
}

// MARK: - Numbers with units

private let sizeUnits: [(name: Substring, bytes: Int)] = [
    ("", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30),
    ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000),
]

private let durationUnits: [(name: Substring, nanoseconds: Int)] = [
    ("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000),
]

/// Splits `64KiB`; the number is nil when it does not fit.
private func numberAndUnit(_ text: String) throws(ValueProblem) -> (number: Int?, unit: Substring) {
    let digits = Substring(text.utf8.prefix(while: HTTPField.isDigit))
    guard !digits.isEmpty else { throw ValueProblem("does not begin with a number") }
    return (Int(digits), text[digits.endIndex...])
}

private func multiplied(_ number: Int?, _ factor: Int) -> Int? {
    guard let (product, overflow) = number?.multipliedReportingOverflow(by: factor), !overflow else { return nil }
    return product
}

/// `value` if it lies within `range`; nil stands for a number too large to represent.
private func within<Value: Comparable>(
    _ range: ClosedRange<Value>,
    _ value: Value?,
    show: (Value) -> String
) throws(ValueProblem) -> Value {
    guard let value, value <= range.upperBound else {
        throw ValueProblem("is more than \(show(range.upperBound))")
    }
    guard value >= range.lowerBound else { throw ValueProblem("is less than \(show(range.lowerBound))") }
    return value
}

/// A size in the largest binary unit that divides it.
@Sendable func showSize(_ bytes: Int) -> String {
    for (name, factor) in sizeUnits[1...3].reversed() where bytes != 0 && bytes % factor == 0 {
        return "\(bytes / factor)\(name)"
    }
    return "\(bytes)"
}

/// A duration in the largest unit that divides it.
@Sendable func showDuration(_ duration: TimeAmount) -> String {
    if duration == Settings.never { return "off" }
    let nanoseconds = Int(duration.nanoseconds)
    for (name, factor) in durationUnits.reversed() where nanoseconds != 0 && nanoseconds % factor == 0 {
        return "\(nanoseconds / factor)\(name)"
    }
    return "\(nanoseconds / 1_000_000)ms"
}
