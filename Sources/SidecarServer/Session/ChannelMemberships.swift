import SidecarCore

/// The channels that a session is in, each with its index in the list of the channel's subscribers.
struct ChannelMemberships {
    private var indices: [ChannelName: Int] = [:]

    var count: Int { indices.count }
    var names: Dictionary<ChannelName, Int>.Keys { indices.keys }

    func contains(_ channel: ChannelName) -> Bool { indices[channel] != nil }

    /// The session is now at this index, new in the channel or moved there.
    mutating func set(_ channel: ChannelName, at index: Int) { indices[channel] = index }

    /// Leaves a channel; returns the index that becomes free, or nil if it was not in the channel.
    mutating func remove(_ channel: ChannelName) -> Int? { indices.removeValue(forKey: channel) }

    /// Leaves all channels; returns the indices that become free.
    mutating func removeAll() -> [ChannelName: Int] {
        defer { indices = [:] }
        return indices
    }
}
