/// An error reply that says: not here, or not now. The command was certainly not carried out.
enum Redirect: Sendable, Equatable {
    /// The slot belongs to this server.
    case moved(slot: Int, to: RedisAddress)
    /// The key, not the slot, is at this server already.
    case ask(RedisAddress)
    /// The server is a replica.
    case notMaster
    /// The server reads its data.
    case loading
    /// The cluster lacks a slot's owner.
    case clusterDown
    /// The keys of a command are on two servers while their slot moves.
    case tryAgain

    /// Reads an error; nil for all others.
    ///
    /// - Parameter asked: The host that answered, which an empty host stands for.
    init?(_ reply: RedisErrorReply, asked: String) {
        switch reply.code {
        case "MOVED", "ASK":
            let words = reply.message.split(separator: " ")
            guard words.count == 2, let slot = Int(words[0]), HashSlot.all.contains(slot),
                let address = RedisAddress(serverText: words[1], asked: asked)
            else { return nil }
            self = reply.code == "ASK" ? .ask(address) : .moved(slot: slot, to: address)
        case "READONLY", "MASTERDOWN": self = .notMaster
        case "LOADING": self = .loading
        case "CLUSTERDOWN": self = .clusterDown
        case "TRYAGAIN": self = .tryAgain
        default: return nil
        }
    }
}
