/// Which master owns each slot of a cluster.
struct SlotTable: Sendable, Equatable {
    /// More ranges than a cluster can have are refused.
    static var maxRanges: Int { HashSlot.all.count }

    private static var none: UInt16 { .max }

    /// For each slot the owner's place in ``masters``.
    private var owners = [UInt16](repeating: SlotTable.none, count: HashSlot.all.count)
    /// The owners; one may have lost its last slot.
    private(set) var masters: [RedisAddress] = []
    /// All servers that were named, replicas too.
    private(set) var nodes: Set<RedisAddress> = []
    private var places: [RedisAddress: UInt16] = [:]

    /// A table without any owner.
    init() {}

    /// Reads the reply to `CLUSTER SLOTS`; nil when it has another shape or names no owner at all.
    ///
    /// - Parameter asked: The host that was asked, which an empty host stands for.
    init?(_ value: RESPValue, asked: String) {
        guard case .array(let ranges) = value, ranges.count <= Self.maxRanges else { return nil }
        for range in ranges {
            guard let items = range.items, items.count >= 3,
                let start = items[0].integer.flatMap({ Int(exactly: $0) }),
                let end = items[1].integer.flatMap({ Int(exactly: $0) }),
                start <= end, HashSlot.all.contains(start), HashSlot.all.contains(end),
                let master = Self.address(items[2], asked)
            else { return nil }
            nodes.insert(master)
            for replica in items.dropFirst(3) {
                if let address = Self.address(replica, asked), nodes.count < Self.maxRanges { nodes.insert(address) }
            }
            guard let place = place(of: master) else { return nil }
            for slot in start...end { owners[slot] = place }
        }
        if masters.isEmpty { return nil }
    }

    private static func address(_ node: RESPValue, _ asked: String) -> RedisAddress? {
        guard let items = node.items, items.count >= 2 else { return nil }
        return RedisAddress(serverHost: items[0].text, port: items[1].integer, asked: asked)
    }

    /// The owner of a slot; nil when nobody owns it, or there is no such slot.
    func owner(of slot: Int) -> RedisAddress? {
        guard owners.indices.contains(slot) else { return nil }
        let place = Int(owners[slot])
        return masters.indices.contains(place) ? masters[place] : nil
    }

    /// A slot has another owner; one that does not exist is left out.
    mutating func setOwner(of slot: Int, _ address: RedisAddress) {
        guard owners.indices.contains(slot), let place = place(of: address) else { return }
        nodes.insert(address)
        owners[slot] = place
    }

    /// The slots whose owner is another one than in `other`.
    func changes(from other: SlotTable) -> [Int] {
        HashSlot.all.filter { owner(of: $0) != other.owner(of: $0) }
    }

    private mutating func place(of master: RedisAddress) -> UInt16? {
        if let place = places[master] { return place }
        guard let place = UInt16(exactly: masters.count), place != Self.none else { return nil }
        masters.append(master)
        places[master] = place
        return place
    }
}
