/// The command that shows that a connection works, and who is at its other end.
enum RoleProbe: Sendable, Equatable {
    /// `INFO replication`: role and replication id.
    case info
    /// `ROLE`, where the ACL forbids `INFO`: the role.
    case role
    /// `PING`, where it forbids both, or the role does not matter.
    case ping

    var command: RedisCommand {
        switch self {
        case .info: RedisCommand("INFO", ["replication"], slotKey: nil)
        case .role: RedisCommand("ROLE", slotKey: nil)
        case .ping: RedisCommand("PING", slotKey: nil)
        }
    }

    /// What to ask when this is forbidden.
    var weaker: RoleProbe {
        self == .info ? .role : .ping
    }

    /// The role that a reply names; nil when it names none.
    func role(in value: RESPValue) -> ServerRole? {
        switch self {
        case .info: ServerRole(info: value)
        case .role: ServerRole(role: value)
        case .ping: nil
        }
    }
}
