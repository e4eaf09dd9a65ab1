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

    /// The connection has ended.
    mutating func releaseAll(in slots: ConnectionSlots) {
        if let slot { slots.close(slot) }
        slot = nil
        releaseUser(in: slots)
    }
}
