import SidecarCore

/// The connections of this process, found by asking each loop for its own.
struct LoopDirectory: ConnectionDirectory {
    let shards: ShardDirectory

    func connection(_ id: String) async -> ConnectionLocation? {
        for loop in shards.loops {
            let found = await shards.collect(on: [loop]) { $0.sessions[id]?.location(on: loop) }
            if let location = found.first ?? nil { return location }
        }
        return nil
    }

    func connections(of user: UserName) async -> [ConnectionLocation] {
        var locations: [ConnectionLocation] = []
        for loop in shards.loops {
            let found = await shards.collect(on: [loop]) { shard in
                shard.sessions.open { $0.user == user }.compactMap { $0.location(on: loop) }
            }
            locations += found.joined()
        }
        return locations
    }
}

extension BridgeSession {
    /// The location of an open connection; nil for any other.
    fileprivate func location(on loop: Int) -> ConnectionLocation? {
        isRunning ? ConnectionLocation(id: id, user: user, address: clientAddress, loop: loop) : nil
    }
}
