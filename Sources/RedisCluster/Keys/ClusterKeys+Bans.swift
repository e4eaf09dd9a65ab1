extension ClusterKeys {
    /// The bans: a hash by subject.
    var bans: String { name(0, ":bans") }
    /// How often they have changed: a string.
    var banVersion: String { name(0, ":banv") }
    /// When the next ban may end, in milliseconds since 1970: a string.
    var nextBanEnd: String { name(0, ":bane") }
    /// Where their changes are published.
    var banTopic: String { name(0, ":banc") }
}
