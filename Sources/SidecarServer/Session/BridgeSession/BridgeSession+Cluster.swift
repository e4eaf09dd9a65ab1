import NIOCore
import SidecarCore

/// What a session does so that the other nodes know it, and its user counts over all of them.
extension BridgeSession {
    /// Registers the connection, and counts its user, before the app is asked.
    func enterCluster(_ body: @escaping () -> Void) {
        guard let registrations = context.registrations, let registration else { return body() }
        registration.isEntering = true
        registrations.enter(self) { [self] in
            guard registration.isEntering else { return }
            whenUserCounts { [self] isAllowed in
                guard registration.isEntering else { return }
                registration.isEntering = false
                if isAllowed { body() } else { refuseUser() }
            }
        }
    }

    private func whenUserCounts(_ body: @escaping (Bool) -> Void) {
        guard let grant = slots.grant else { return body(true) }
        grant.whenDecided(body)
    }

    /// The user of the token has too many connections on all nodes.
    private func refuseUser() {
        guard responder != nil else {
            closeTransport(code: .policyViolation, reason: Self.tooManyConnections)
            return leaveUnknown(as: .connectionLimit)
        }
        decideAgainst(
            .refuse(
                .tooManyConnections(of: .user, limit: context.settings.maxConnectionsPerUser),
                .connectionLimit
            )
        )
    }

    /// Counts the user whom the app has named in its reply to `open`, on all nodes; without a cluster that is done at
    /// once, later.
    func countUser(of reply: SessionReply?, _ body: @escaping (_ isAllowed: Bool) -> Void) {
        guard context.registrations != nil, let user = reply?.user, !user.isEmpty, user != self.user, machine.isOpening,
            !context.admission.bans.covers(user: user)
        else { return body(true) }
        let before = self.user
        guard takeSlot(ofUser: user) else { return body(false) }
        whenUserCounts { [self] isAllowed in
            if !isAllowed {
                slots.releaseUser(in: context.admission.slots)
                self.user = before
            }
            body(isAllowed)
        }
    }

    /// Asks whether the user of this connection has too many on all nodes.
    func askForUser(_ user: UserName) {
        guard let users = context.state.engine?.users else { return }
        let slots = context.admission.slots
        let grant = UserGrant(user, users: users)
        self.slots.grant = grant
        grant.ask(
            limit: slots.perUser,
            on: context.eventLoop,
            makeRoom: { [context] in context.makeRoom(for: user, $0) },
            isRefused: { [clientAddress] in slots.refuses(user, client: clientAddress) }
        )
        guard machine.isRunning else { return }
        grant.whenDecided { [weak self] isAllowed in
            guard let self, !isAllowed, self.slots.grant === grant else { return }
            close(code: .policyViolation, reason: Self.tooManyConnections, discarding: true, for: .connectionLimit)
        }
    }

    /// Closes a connection of whose end another node tells the app, since it took this one for lost.
    func closeAsClaimed() {
        registration?.isClaimed = true
        close(code: .serviceRestart, reason: "the node was cut off; reconnect", for: .claimed)
    }

    /// Tells the app of the end of a lost node's connection.
    func tellLoss() {
        context.registry.insert(self)
        perform(machine.tellLoss())
    }
}
