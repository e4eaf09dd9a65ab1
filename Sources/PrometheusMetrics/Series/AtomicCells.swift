internal import Synchronization

/// A fixed row of atomic counters in one allocation.
///
/// `Synchronization` has no atomic array; a row of boxed atomics would cost a reference count per sample.
/// The pointer never leaves this type, and every access is through an atomic, which makes it safe to share.
struct AtomicCells: ~Copyable, @unchecked Sendable {
    private let cells: UnsafeMutablePointer<Atomic<UInt64>>
    let count: Int

    init(count: Int) {
        self.count = count
        self.cells = .allocate(capacity: count)
        for index in 0..<count {
            (self.cells + index).initialize(to: Atomic(0))
        }
    }

    deinit {
        self.cells.deinitialize(count: self.count)
        self.cells.deallocate()
    }

    func increment(at index: Int) {
        precondition(index >= 0 && index < self.count)
        self.cells[index].wrappingAdd(1, ordering: .relaxed)
    }

    func load(at index: Int) -> UInt64 {
        precondition(index >= 0 && index < self.count)
        return self.cells[index].load(ordering: .relaxed)
    }
}

extension Atomic where Value == UInt64 {
    /// Adds to a `Double` kept as its bit pattern.
    func addDouble(_ amount: Double) {
        var seen = self.load(ordering: .relaxed)
        while true {
            let sum = (Double(bitPattern: seen) + amount).bitPattern
            let (exchanged, original) = self.weakCompareExchange(expected: seen, desired: sum, ordering: .relaxed)
            if exchanged { return }
            seen = original
        }
    }
}
