import SidecarCore

/// The slots that one session takes among the connections of its address and of its user.
struct SessionSlots {
    private var slot: ConnectionSlots.Slot?
    private var userSlot: (bucket: SharedBucket, user: UserName)?
    /// That it counts on all nodes together; nil without a user or a cluster.
    var grant: UserGrant?

    /// - Parameter slot: Nil for a client that has gone.
    init(_ slot: ConnectionSlots.Slot?) { self.slot = slot }

    /// From now on the connection counts with those of this user.
    mutating func take(_ bucket: SharedBucket, of user: UserName, in slots: ConnectionSlots) {
        releaseUser(in: slots)
        userSlot = (bucket, user)
    }

    /// It counts with no user's connections any more.
    mutating func releaseUser(in slots: ConnectionSlots) {
        if let (bucket, user) = userSlot { slots.close(bucket, of: user) }
        userSlot = nil
        grant?.release()
        grant = nil
    }

    /// The client has gone, but not its session.
    mutating func releaseAddress(in slots: ConnectionSlots) {
        if let slot { slots.close(slot) }
        slot = nil
    }

    /// The connection has ended.
    mutating func releaseAll(in slots: ConnectionSlots) {
        releaseAddress(in: slots)
        releaseUser(in: slots)
    }

    // MARK: Moving

    /// What a session takes with it to another connection.
    struct Moved: Sendable {
        fileprivate let userSlot: (bucket: SharedBucket, user: UserName)?
        fileprivate let grant: UserGrant.Decided?

        /// Nothing, as a session of another node brings it.
        static let none = Moved(userSlot: nil, grant: nil)
    }

    /// Its slot among the connections of its address.
    var address: ConnectionSlots.Slot? { slot }
    /// Whether it is known if its user counts on all nodes.
    var isSettled: Bool { grant?.isDecided ?? true }

    /// The session moves to another connection, with its user's slot.
    mutating func move(in slots: ConnectionSlots) -> Moved {
        releaseAddress(in: slots)
        defer { (userSlot, grant) = (nil, nil) }
        return Moved(userSlot: userSlot, grant: grant?.decided)
    }

    /// Takes over what a session has brought.
    mutating func adopt(_ moved: Moved) {
        userSlot = moved.userSlot
        grant = moved.grant.map { UserGrant($0) }
    }
}
