/// An aggregate that is being read.
struct RESPAggregate: Sendable {
    private let type: RESPType
    private let count: Int
    private var items: [RESPValue] = []

    /// - Parameter count: How many values belong to it; a map has two for each entry.
    init(type: RESPType, count: Int) {
        self.type = type
        self.count = count
        // The count is only what somebody says.
        items.reserveCapacity(min(count, 64))
    }

    var isComplete: Bool { items.count == count }

    mutating func append(_ item: RESPValue) { items.append(item) }

    /// What it makes; nil for an attribute, which is no value.
    var value: RESPValue? {
        switch type {
        case .array: return .array(items)
        case .set: return .set(items)
        case .push: return .push(items)
        case .map:
            var pairs: [RESPValue.Pair] = []
            pairs.reserveCapacity(items.count / 2)
            var index = 0
            while index + 1 < items.count {
                pairs.append(RESPValue.Pair(key: items[index], value: items[index + 1]))
                index += 2
            }
            return .map(pairs)
        default: return nil
        }
    }
}
