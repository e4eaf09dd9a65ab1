import SidecarCore

extension ClusterKeys {
    /// The tag of a user.
    static func tag(of user: UserName) -> Int { tag(ofText: user.text) }

    /// How many connections a user has: a hash by incarnation.
    func userConnections(_ user: UserName) -> String { name(Self.tag(of: user), ":u:", user.text) }
    /// The beginning of these names, which ends where the user's name follows.
    func userConnectionsStem(_ tag: Int) -> String { name(tag, ":u:") }
    /// The users that a node has: a set.
    func users(_ tag: Int, of incarnation: String) -> String { name(tag, ":v:", incarnation) }
    /// The newest era in which a node has counted (``UserScripts``): a string.
    func userEra(_ tag: Int, of incarnation: String) -> String { name(tag, ":ve:", incarnation) }
    /// How often users have come to another number of nodes: a string.
    func userChanges(_ tag: Int) -> String { name(tag, ":vc") }
    /// Where these changes are published.
    func userTopic(_ tag: Int) -> String { name(tag, ":w") }
}
