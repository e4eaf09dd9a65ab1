/// The numbers of the messages that one node has sent, so that none is carried out twice.
struct SeenNumbers {
    /// How far a message may lag behind the newest one.
    static let window: UInt64 = 1024

    private var newest: UInt64 = 0
    private var seen: Set<UInt64> = []

    /// Takes a number; false when it was there before, or is too old to tell.
    mutating func take(_ number: UInt64) -> Bool {
        guard number > 0, newest < Self.window || number > newest - Self.window else { return false }
        guard seen.insert(number).inserted else { return false }
        newest = max(newest, number)
        if seen.count > 2 * Int(Self.window) {
            let oldest = newest - min(newest, Self.window)
            seen = seen.filter { $0 > oldest }
        }
        return true
    }
}
