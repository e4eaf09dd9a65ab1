/// The first commands of a connection: who we are, which database, and whether the server suits.
///
/// Send what ``begin()`` returns, then do what ``received(_:)`` says of each reply.
struct ServerGreeting: Sendable {
    /// What the connection is for.
    enum Purpose: Sendable, Equatable {
        /// Commands and subscriptions at a master.
        case master(inCluster: Bool)
        /// Asking any node of a cluster for its slots.
        case anyNode
        /// Asking a Sentinel.
        case sentinel
    }

    /// What to do next.
    enum Action: Sendable {
        /// Send this and wait for its reply.
        case send(RedisCommand)
        /// The connection can be used; probe it so.
        case ready(RedisServerInfo, RoleProbe)
        /// Close the connection.
        case fail(ConnectionFault)
    }

    /// Who we say we are.
    struct Credentials: Sendable {
        let username: String?
        let password: String?
        let clientName: String
        let database: Int

        init(_ configuration: RedisConfiguration) {
            username = configuration.username
            password = configuration.password
            clientName = configuration.clientName
            database = configuration.database
        }
    }

    private enum Step {
        case hello(authenticated: Bool)
        case select
        case role(RoleProbe)
    }

    private let purpose: Purpose
    private let credentials: Credentials
    private var step = Step.hello(authenticated: false)
    private var version = RedisVersion.oldest
    private var mode = RedisServerInfo.Mode.standalone

    init(purpose: Purpose, credentials: Credentials) {
        self.purpose = purpose
        self.credentials = credentials
    }

    /// The first command.
    mutating func begin() -> RedisCommand {
        // A Sentinel mostly has no password, even where the servers have one.
        hello(authenticated: purpose != .sentinel && credentials.password != nil)
    }

    /// Takes the reply to the last command.
    mutating func received(_ value: RESPValue) -> Action {
        switch step {
        case .hello(let authenticated):
            if case .error(let reply) = value { return refusedHello(reply, authenticated: authenticated) }
            return receivedHello(value)
        case .select:
            if case .error(let reply) = value {
                return .fail(
                    .refusal(
                        "Redis refused database \(credentials.database) of CLUSTER_URL. Redis said: \(reply.shown)"
                    )
                )
            }
            return ask(.info)
        case .role(let probe):
            return receivedRole(value, probe)
        }
    }

    // MARK: HELLO

    private mutating func hello(authenticated: Bool) -> RedisCommand {
        step = .hello(authenticated: authenticated)
        var arguments: [RedisArgument] = ["3"]
        if authenticated, let password = credentials.password {
            arguments += ["AUTH", .text(credentials.username ?? "default"), .text(password)]
        }
        if !credentials.clientName.isEmpty { arguments += ["SETNAME", .text(credentials.clientName)] }
        return RedisCommand("HELLO", arguments, slotKey: nil)
    }

    private mutating func refusedHello(_ reply: RedisErrorReply, authenticated: Bool) -> Action {
        switch reply.code {
        case "NOAUTH" where !authenticated && credentials.password != nil:
            return .send(hello(authenticated: true))
        case "NOAUTH", "WRONGPASS", "NOPERM", "NOPROTO":
            return .fail(.refusal(withoutPassword(reply.sentence)))
        case "ERR" where reply.message.hasPrefix("unknown command"):
            return .fail(.refusal("The server does not know HELLO; Redis \(RedisVersion.oldest) or later is needed."))
        default:
            return .fail(.refusal("The server refused HELLO. It said: \(withoutPassword(reply.shown))"))
        }
    }

    /// Servers and proxies that do not know a command may repeat its arguments.
    private func withoutPassword(_ text: String) -> String {
        guard let password = credentials.password, !password.isEmpty else { return text }
        return text.split(separator: password, omittingEmptySubsequences: false).joined(separator: "***")
    }

    private mutating func receivedHello(_ value: RESPValue) -> Action {
        guard let text = value["version"]?.text, let version = RedisVersion(text) else {
            return .fail(.refusal("The reply to HELLO names no version; is this Redis?"))
        }
        guard version >= .oldest else {
            return .fail(
                .refusal("The server is Redis \(version); Redis \(RedisVersion.oldest) or later is needed.")
            )
        }
        self.version = version
        mode = (value["mode"]?.text).flatMap { RedisServerInfo.Mode(rawValue: $0) } ?? .standalone
        switch purpose {
        case .sentinel:
            guard mode == .sentinel else {
                return .fail(.refusal("The server is no Sentinel; CLUSTER_URL has to name Sentinels (port 26379)."))
            }
            return .ready(RedisServerInfo(version: version, mode: mode, replicationID: nil), .ping)
        case .anyNode:
            if let fault = wrongMode(inCluster: true) { return .fail(fault) }
            return .ready(RedisServerInfo(version: version, mode: mode, replicationID: nil), .ping)
        case .master(let inCluster):
            if let fault = wrongMode(inCluster: inCluster) { return .fail(fault) }
            guard credentials.database != 0, !inCluster else { return ask(.info) }
            step = .select
            return .send(RedisCommand("SELECT", [.number(Int64(credentials.database))], slotKey: nil))
        }
    }

    private func wrongMode(inCluster: Bool) -> ConnectionFault? {
        switch (mode, inCluster) {
        case (.sentinel, _):
            .refusal("The server is a Sentinel; write redis+sentinel://host:26379/service in CLUSTER_URL.")
        case (.cluster, false): .refusal("The server belongs to a cluster; write redis+cluster:// in CLUSTER_URL.")
        case (.standalone, true): .refusal("The server belongs to no cluster; write redis:// in CLUSTER_URL.")
        case (.cluster, true), (.standalone, false): nil
        }
    }

    // MARK: Role

    private mutating func ask(_ probe: RoleProbe) -> Action {
        step = .role(probe)
        return .send(probe.command)
    }

    private mutating func receivedRole(_ value: RESPValue, _ probe: RoleProbe) -> Action {
        if case .error(let reply) = value {
            guard reply.code == "NOPERM" else {
                return .fail(.network("Redis refused \(probe.command.name): \(reply.shown)"))
            }
            // Without permission to ask, everything but the watch over role and history works.
            return probe == .ping ? ready(nil, .ping) : ask(probe.weaker)
        }
        guard probe != .ping else { return ready(nil, .ping) }
        guard let role = probe.role(in: value) else {
            return .fail(.refusal("The reply to \(probe.command.name) names no role; is this Redis?"))
        }
        guard role.isMaster else { return .fail(.notMaster) }
        return ready(role, probe)
    }

    private func ready(_ role: ServerRole?, _ probe: RoleProbe) -> Action {
        .ready(RedisServerInfo(version: version, mode: mode, replicationID: role?.replicationID), probe)
    }
}

extension ConnectionFault {
    /// The server is a replica.
    static let notMaster = ConnectionFault.role(
        "The server is a replica; use the master's address, or redis+sentinel:// or redis+cluster:// in CLUSTER_URL."
    )
}
