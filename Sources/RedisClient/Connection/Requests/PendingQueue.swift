import DequeModule
import NIOCore

/// What waits in a line, each with a deadline: commands for their replies, or for a connection.
///
/// Every element has a number, its place since the beginning. Deadlines that come in order, as those of one timeout do,
/// cost nothing to keep in order; only the others go through a heap.
struct PendingQueue<Element> {
    /// What stood first in the line.
    enum Popped {
        /// An element in time.
        case element(Element)
        /// The place of an element that has expired.
        case late
    }

    private struct Entry {
        var element: Element?
        let bytes: Int
    }

    private struct Due {
        let deadline: NIODeadline
        let number: UInt64
    }

    /// Whether an element that expires keeps its place and its bytes, because a reply to it may still come.
    private let keepsPlaces: Bool
    private var entries = Deque<Entry>()
    /// Deadlines that are no earlier than the one before.
    private var inOrder = Deque<Due>()
    /// The others, as a binary heap with the earliest on top; may name elements that have gone.
    private var others: [Due] = []

    /// The number of the first place, or of the next element when there is none.
    private(set) var firstNumber: UInt64 = 0
    /// The bytes of all places.
    private(set) var bytes = 0
    /// How many elements have not expired.
    private(set) var liveCount = 0

    init(keepsPlaces: Bool) { self.keepsPlaces = keepsPlaces }

    /// How many places there are.
    var count: Int { entries.count }
    /// The number that the next element gets.
    var nextNumber: UInt64 { firstNumber + UInt64(entries.count) }
    /// The element that stands first; nil when there is none or it has expired.
    var first: Element? { entries.first?.element }

    /// How many deadlines are kept; for tests.
    var keptDeadlines: Int { inOrder.count + others.count }

    /// Adds an element at the end.
    mutating func append(_ element: Element, bytes size: Int = 0, deadline: NIODeadline? = nil) {
        if let deadline {
            let due = Due(deadline: deadline, number: nextNumber)
            if let last = inOrder.last, deadline < last.deadline {
                pushOther(due)
            } else {
                inOrder.append(due)
            }
        }
        entries.append(Entry(element: element, bytes: size))
        bytes += size
        liveCount += 1
    }

    /// Takes the first place off the line; nil when there is none.
    mutating func popFirst() -> Popped? {
        guard let entry = entries.popFirst() else { return nil }
        firstNumber += 1
        if keepsPlaces || entry.element != nil { bytes -= entry.bytes }
        while let due = inOrder.first, due.number < firstNumber { inOrder.removeFirst() }
        guard let element = entry.element else { return .late }
        liveCount -= 1
        return .element(element)
    }

    /// The first element that has not expired, taken off the line with all places before it.
    mutating func popFirstLive() -> Element? {
        while let popped = popFirst() {
            if case .element(let element) = popped { return element }
        }
        return nil
    }

    /// Takes the elements whose deadline is not after `now`; the earliest deadline first.
    mutating func expire(at now: NIODeadline) -> [Element] {
        var expired: [Element] = []
        while let due = earliest(), due.deadline <= now {
            if let first = inOrder.first, first.number == due.number {
                inOrder.removeFirst()
            } else {
                popOther()
            }
            guard let index = index(of: due.number), let element = entries[index].element else { continue }
            entries[index].element = nil
            liveCount -= 1
            if !keepsPlaces { bytes -= entries[index].bytes }
            expired.append(element)
        }
        if !keepsPlaces {
            while let entry = entries.first, entry.element == nil { _ = popFirst() }
        }
        return expired
    }

    /// The earliest deadline of an element that has not expired.
    mutating func nextDeadline() -> NIODeadline? { earliest()?.deadline }

    // MARK: Deadlines

    private func index(of number: UInt64) -> Int? {
        guard number >= firstNumber, number < nextNumber else { return nil }
        return Int(number - firstNumber)
    }

    private mutating func earliest() -> Due? {
        while let due = others.first, due.number < firstNumber { popOther() }
        guard let other = others.first else { return inOrder.first }
        guard let ordered = inOrder.first else { return other }
        return other.deadline < ordered.deadline ? other : ordered
    }

    private mutating func pushOther(_ due: Due) {
        // Those that have gone leave the heap only at its top: without this, they could pile up below.
        if others.count >= 64, others.count > 2 * entries.count {
            let kept = others.filter { $0.number >= firstNumber }.sorted { $0.deadline < $1.deadline }
            others = kept
        }
        others.append(due)
        var index = others.count - 1
        while index > 0, others[index].deadline < others[(index - 1) / 2].deadline {
            others.swapAt(index, (index - 1) / 2)
            index = (index - 1) / 2
        }
    }

    private mutating func popOther() {
        guard let last = others.popLast(), !others.isEmpty else { return }
        others[0] = last
        var index = 0
        while true {
            var least = index
            for child in [2 * index + 1, 2 * index + 2]
            where child < others.count && others[child].deadline < others[least].deadline {
                least = child
            }
            if least == index { return }
            others.swapAt(index, least)
            index = least
        }
    }
}
