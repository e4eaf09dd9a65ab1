/// Messages that are not on disk yet, in order of arrival and, chained, in order of each connection.
///
/// Slots are reused and linked by index, so that taking one out from anywhere costs the same and nothing is allocated
/// per message.
struct PendingMessages: Sendable {
    /// No slot.
    static let none = -1

    /// What a message costs beyond its payload, so that empty messages are bounded too, in bytes.
    static let overhead = 128

    /// One message and its neighbours.
    struct Slot: Sendable {
        /// The connection it came on.
        var id: String
        /// Its sequence in the connection's order.
        var sequence: UInt64
        /// What kind of data it is.
        var format: UInt8
        /// What belongs to it besides its payload.
        var label: [UInt8]
        /// Its bytes.
        var payload: [UInt8]
        /// When it was accepted.
        var at: Int64
        /// The one that arrived before it, on any connection.
        fileprivate(set) var older = none
        /// The one that arrived after it, on any connection.
        fileprivate(set) var newer = none
        /// The next one of the same connection.
        fileprivate(set) var next = none

        /// What it counts against the limit.
        var cost: Int { payload.count + label.count + overhead }
    }

    /// The messages of one connection: its first and its last slot.
    struct Chain: Sendable {
        /// The slot that arrived first.
        fileprivate(set) var first = none
        /// The slot that arrived last.
        fileprivate(set) var last = none

        /// True without messages.
        var isEmpty: Bool { first == none }
    }

    private var slots: [Slot] = []
    private var unused: [Int] = []
    private var newest = none

    /// The slot of the message that has waited longest.
    private(set) var oldest = none
    /// Payload bytes, ``overhead`` per message included.
    private(set) var bytes = 0
    /// How many messages there are.
    var count: Int { slots.count - unused.count }

    /// What a slot holds.
    subscript(slot: Int) -> Slot { slots[slot] }

    /// Adds a message at the end of a connection's chain.
    mutating func append(_ message: Slot, to chain: inout Chain) {
        var message = message
        message.older = newest
        message.newer = Self.none
        message.next = Self.none
        bytes += message.cost
        let slot: Int
        if let reused = unused.popLast() {
            slots[reused] = message
            slot = reused
        } else {
            slot = slots.count
            slots.append(message)
        }
        if newest == Self.none { oldest = slot } else { slots[newest].newer = slot }
        newest = slot
        if chain.last == Self.none { chain.first = slot } else { slots[chain.last].next = slot }
        chain.last = slot
    }

    /// Takes the message with a sequence out of a chain; nil if it has none.
    ///
    /// Its bytes are handed out so that they can be freed where nobody waits.
    mutating func remove(sequence: UInt64, from chain: inout Chain) -> [UInt8]? {
        var before = Self.none
        var slot = chain.first
        // The app answers in order, so it is nearly always the first.
        while slot != Self.none, slots[slot].sequence != sequence {
            before = slot
            slot = slots[slot].next
        }
        guard slot != Self.none else { return nil }
        let next = slots[slot].next
        if before == Self.none { chain.first = next } else { slots[before].next = next }
        if chain.last == slot { chain.last = before }
        return release(slot)
    }

    /// Takes all messages out of a chain.
    mutating func removeAll(from chain: inout Chain) {
        var slot = chain.first
        while slot != Self.none {
            let next = slots[slot].next
            _ = release(slot)
            slot = next
        }
        chain = Chain()
    }

    /// Calls `body` with the messages of a chain, first one first.
    func forEach<Failure>(in chain: Chain, _ body: (Slot) throws(Failure) -> Void) throws(Failure) {
        var slot = chain.first
        while slot != Self.none {
            try body(slots[slot])
            slot = slots[slot].next
        }
    }

    /// Calls `body` with all messages, oldest first.
    func forEachByAge(_ body: (Slot) -> Void) {
        var slot = oldest
        while slot != Self.none {
            body(slots[slot])
            slot = slots[slot].newer
        }
    }

    /// Forgets everything but the memory, unless that has become large.
    mutating func clear() {
        let keeps = slots.count <= 4096
        slots.removeAll(keepingCapacity: keeps)
        unused.removeAll(keepingCapacity: keeps)
        newest = Self.none
        oldest = Self.none
        bytes = 0
    }

    private mutating func release(_ slot: Int) -> [UInt8] {
        let (older, newer) = (slots[slot].older, slots[slot].newer)
        if older == Self.none { oldest = newer } else { slots[older].newer = newer }
        if newer == Self.none { newest = older } else { slots[newer].older = older }
        bytes -= slots[slot].cost
        var payload: [UInt8] = []
        swap(&payload, &slots[slot].payload)
        // A reused slot would free it anyway, but an unused one must not keep it.
        slots[slot].id = ""
        slots[slot].label = []
        unused.append(slot)
        return payload
    }
}
