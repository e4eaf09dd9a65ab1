public import NIOCore

/// Limits log lines that somebody else can cause at will: so many a minute, and then the number of those that were left
/// out.
public struct LineAllowance: Sendable, Equatable {
    /// Lines in a minute.
    public static let perMinute = 100
    private static let minute = TimeAmount.minutes(1)

    private let most: Int
    private var began: NIODeadline?
    private var written = 0
    private var leftOut = 0

    /// A full allowance.
    ///
    /// - Parameter most: The lines in a minute.
    public init(_ most: Int = perMinute) { self.most = most }

    /// Another line is due.
    ///
    /// - Returns: How many were left out since the last line, if this one may be written; else nil.
    public mutating func take(at now: NIODeadline) -> Int? {
        if began.map({ now - $0 >= Self.minute }) ?? true {
            began = now
            written = 0
        }
        guard written < most else {
            leftOut += 1
            return nil
        }
        written += 1
        defer { leftOut = 0 }
        return leftOut
    }
}
