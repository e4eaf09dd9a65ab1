import SidecarCore

/// The connections of this process: it asks the loops, each for its own.
struct LoopDirectory: ConnectionDirectory {
    let shards: ShardDirectory

    func connection(_ id: String) async -> ConnectionPlace? {
        for loop in shards.loops {
            let found = await shards.collect(on: [loop]) { $0.sessions[id]?.place(on: loop) }
            if let place = found.first ?? nil { return place }
        }
        return nil
    }

    func connections(of user: UserName) async -> [ConnectionPlace] {
        var places: [ConnectionPlace] = []
        for loop in shards.loops {
            let found = await shards.collect(on: [loop]) { shard in
                shard.sessions.open { $0.user == user }.compactMap { $0.place(on: loop) }
            }
            places += found.joined()
        }
        return places
    }
}

extension BridgeSession {
    /// Nil for one that is not open.
    fileprivate func place(on loop: Int) -> ConnectionPlace? {
        isRunning ? ConnectionPlace(id: id, user: user, address: clientAddress, loop: loop) : nil
    }
}
