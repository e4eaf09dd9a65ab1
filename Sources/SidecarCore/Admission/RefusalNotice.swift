public import NIOCore
internal import Synchronization

/// Decides which refusals become a line in the log: the first of its kind in a minute, with the number of those that
/// were left out since the line before.
public struct RefusalNotice: Sendable, Equatable {
    /// How long a line suppresses others of its kind.
    public static let interval = TimeAmount.seconds(60)

    /// The second of the last line plus one; 0 before the first.
    private var lastLine: UInt32 = 0
    /// Refusals since then.
    private var leftOut: UInt32 = 0

    /// No refusals so far.
    public init() {}

    /// Counts a refusal.
    ///
    /// - Returns: How many were left out since the last line, if this one is to be logged; else nil.
    public mutating func refused(at now: NIODeadline) -> Int? {
        let second = UInt32(clamping: now.uptimeNanoseconds / 1_000_000_000 + 1)
        let silence = UInt32(clamping: Self.interval.nanoseconds / 1_000_000_000)
        guard lastLine == 0 || second >= lastLine && second - lastLine >= silence else {
            if leftOut < .max { leftOut += 1 }
            return nil
        }
        defer {
            lastLine = second
            leftOut = 0
        }
        return Int(leftOut)
    }

    /// Packed into one word, so that threads can share it atomically.
    fileprivate var word: UInt64 {
        get { UInt64(lastLine) << 32 | UInt64(leftOut) }
        set {
            lastLine = UInt32(truncatingIfNeeded: newValue >> 32)
            leftOut = UInt32(truncatingIfNeeded: newValue)
        }
    }
}

/// One ``RefusalNotice`` for each kind, shared by all event loops without a lock.
public final class RefusalNotices: Sendable {
    private final class Cell: Sendable {
        let word = Atomic<UInt64>(0)
    }

    private let cells = RefusalKind.allCases.map { _ in Cell() }

    /// No refusals so far.
    public init() {}

    /// Counts a refusal of this kind; see ``RefusalNotice/refused(at:)``.
    public func refused(_ kind: RefusalKind, at now: NIODeadline) -> Int? {
        guard cells.indices.contains(kind.rawValue) else { return nil }
        let cell = cells[kind.rawValue]
        var old = cell.word.load(ordering: .relaxed)
        while true {
            var notice = RefusalNotice()
            notice.word = old
            let leftOut = notice.refused(at: now)
            let (exchanged, current) = cell.word.weakCompareExchange(
                expected: old,
                desired: notice.word,
                ordering: .relaxed
            )
            if exchanged { return leftOut }
            old = current
        }
    }
}
