import RedisClient
import SidecarCore

/// Goes through the users that the engine has for this node, to find those that are no longer here.
struct UserSweep {
    /// A part of the users of one tag.
    struct Step: Equatable {
        let tag: Int
        /// Where it begins, in the engine's words.
        let cursor: String
    }

    /// The tags that have to be gone through.
    private var tags: Set<Int> = []
    private var current: Step?
    private var isUnderWay = false

    /// A user of this tag may be too much.
    mutating func add(_ tag: Int) {
        tags.insert(tag)
        if current?.tag == tag { current = nil }
    }

    /// Users of all tags may be too much.
    mutating func addAll() { for tag in 0..<ClusterKeys.tags { add(tag) } }

    /// What to ask next; nil when there is nothing, or an answer is due.
    mutating func next() -> Step? {
        guard !isUnderWay else { return nil }
        if current == nil { current = tags.popFirst().map { Step(tag: $0, cursor: "0") } }
        isUnderWay = current != nil
        return current
    }

    /// The engine has answered, or has not.
    ///
    /// - Returns: The users that it has.
    mutating func answered(_ step: Step, _ value: RESPValue?) -> [UserName] {
        isUnderWay = false
        guard let value else {
            add(step.tag)
            return []
        }
        guard let items = value.items, items.count == 2, let cursor = items[0].text, let names = items[1].items else {
            if current == step { current = nil }
            return []
        }
        // It may have to begin anew.
        if current == step { current = cursor == "0" ? nil : Step(tag: step.tag, cursor: cursor) }
        return names.compactMap { $0.text.map { UserName($0) } }
    }
}
