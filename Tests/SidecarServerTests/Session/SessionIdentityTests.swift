import NIOCore
import SidecarCore
import Testing

@testable import SidecarServer
@testable import TokenVerifier

@Suite("Who the client of a session is")
struct SessionIdentityTests {
    private static let full = "close 1008 this user has too many connections open"
    private static let denied = "close 4403 access is denied"

    // MARK: Users

    @Test("A user's slot is taken with the acceptance, and given back once")
    func slot() throws {
        let rig = try SessionRig()
        try rig.untilGone({ try $0.open("Sidesocket-User: alice\r\n") }) { client in
            #expect(rig.users.all == ["alice": 1] && client.session.user == "alice")
            client.leaves()
            #expect(rig.users.all == [:])
            try rig.app.answer(204)
        }
    }

    @Test(
        "A reply may name another user, the same, or none",
        arguments: [
            ("bob", ["bob": 1]), ("alice", ["alice": 1]), ("", [:]),
        ] as [(String, [UserName: Int])]
    )
    func changed(user: String, users: [UserName: Int]) throws {
        let rig = try SessionRig()
        try rig.untilGone({ try $0.open("Sidesocket-User: alice\r\n") }) { client in
            client.send("x")
            try rig.app.answer(204, "Sidesocket-User: \(user)\r\n")
            #expect(rig.users.all == users)
            client.leaves()
            try rig.app.answer(204)
        }
    }

    @Test("A user with too many connections gets no other, and the app hears that it ended")
    func tooMany() throws {
        let rig = try SessionRig(["MAX_CONNECTIONS_PER_USER": "1"])
        let first = try rig.open("Sidesocket-User: alice\r\n")
        let second = try rig.open("Sidesocket-User: alice\r\n")
        #expect(second.responder.decisions == ["refuse 429 connection_limit"])
        #expect(second.transport.log == [] && rig.state.sessions == 1)
        try rig.app.answer(204)
        #expect(rig.closes == ["close 1006 by server"])
        let third = try rig.open()
        third.send("x")
        try rig.app.answer(204, "Sidesocket-User: alice\r\n")
        #expect(third.transport.log == [Self.full])
        #expect(rig.users.all == ["alice": 1])
        try rig.app.answer(204)
        first.leaves()
        try rig.app.answer(204)
        rig.expectNothingLeft()
    }

    @Test("A user who is named after the client has gone takes no slot, but the last event has the name")
    func namedTooLate() throws {
        let rig = try SessionRig()
        try rig.untilGone { client in
            client.send("x")
            client.leaves()
            try rig.app.answer(204, "Sidesocket-User: alice\r\n")
            #expect(rig.users.all == [:] && client.session.user == "alice")
            #expect(rig.app.asked == "close 1001 by client")
            try rig.app.answer(204)
        }
    }

    // MARK: Bans

    @Test("A user who is banned while the app decides is refused, and the app hears that it ended")
    func bannedUser() throws {
        let rig = try SessionRig()
        try rig.untilGone({ try $0.connect() }) { client in
            _ = rig.bans.add(.user("alice"), for: .seconds(600), reason: "test")
            try rig.app.answer(204, "Sidesocket-User: alice\r\n")
            #expect(client.responder.decisions == ["refuse 403 auth"])
            try rig.app.answer(204)
        }
        #expect(rig.closes == ["close 1006 by server"])
    }

    @Test("An address that is banned while the app decides is closed")
    func bannedAddress() throws {
        let rig = try SessionRig()
        let network = IPNetwork(try Samples.address("192.0.2.1"), prefixLength: 32)
        try rig.untilGone({ try $0.connect() }) { client in
            _ = rig.bans.add(.network(network), for: .seconds(600), reason: "test")
            try rig.app.answer(200, "Content-Type: text/plain\r\n", body: "hi")
            #expect(client.responder.decisions == ["accept 200"])
            #expect(client.transport.log == ["send hi", Self.denied])
            try rig.app.answer(204)
        }
        #expect(rig.closes == ["close 4403 by server"])
    }

    @Test("A reply that names a banned user closes")
    func bannedByReply() throws {
        let rig = try SessionRig()
        _ = rig.bans.add(.user("alice"), for: .seconds(600), reason: "test")
        try rig.untilGone { client in
            client.send("1")
            client.send("2")
            try rig.app.answer(200, "Sidesocket-User: alice\r\nContent-Type: text/plain\r\n", body: "not sent")
            #expect(client.transport.log == [Self.denied])
            try rig.app.answer(204)
        }
        #expect(rig.app.heard == ["open", "message 1", "close 4403 by server"])
    }

    // MARK: Tokens of the handshake

    private static func token(_ user: UserName, expiresIn seconds: Double = 1_000_000) -> VerifiedToken {
        VerifiedToken(
            user: user,
            expiresAt: Double(WallClock.unixMilliseconds()) / 1000 + seconds,
            claims: [.init(name: "claimrole", value: "admin")]
        )
    }

    /// A client whose handshake had a token, accepted with these fields.
    private static func open(_ rig: SessionRig, _ token: VerifiedToken, _ fields: String = "") throws -> SessionClient {
        let client = try rig.makeClient()
        let isAdopted = client.session.adopt(token)
        #expect(isAdopted)
        client.session.start(responder: client.responder)
        try rig.app.answer(204, fields)
        return client
    }

    @Test("The user of a token has a slot from the start, and gives it back when the app refuses")
    func tokenOfHandshake() throws {
        let rig = try SessionRig()
        try rig.untilGone({ try $0.makeClient() }) { client in
            let isAdopted = client.session.adopt(Self.token("alice"))
            #expect(isAdopted && rig.users.all == ["alice": 1])
            #expect(client.session.identity.facts.claims == [.init(name: "claimrole", value: "admin")])
            client.session.start(responder: client.responder)
            try rig.app.answer(403)
        }
        #expect(rig.app.heard == ["open"])
    }

    @Test("A token whose user has too many connections is not taken over")
    func tokenWithoutSlot() throws {
        let rig = try SessionRig(["MAX_CONNECTIONS_PER_USER": "1"])
        let first = try Self.open(rig, Self.token("alice"))
        let second = try rig.makeClient()
        let isAdopted = second.session.adopt(Self.token("alice"))
        #expect(!isAdopted && second.session.user == nil)
        second.session.leaveUnknown(as: .connectionLimit)
        #expect(rig.users.all == ["alice": 1])
        first.leaves()
        try rig.app.answer(204)
        rig.expectNothingLeft()
    }

    @Test("When its token expires, it is closed")
    func expires() throws {
        let rig = try SessionRig()
        try rig.untilGone({ try Self.open($0, Self.token("alice", expiresIn: -1)) }) { client in
            client.send("1")
            client.send("2")
            rig.passes(.milliseconds(200))
            #expect(client.transport.log == ["close 4401 the token has expired"])
            for _ in 0..<2 { try rig.app.answer(204) }
        }
        #expect(rig.app.heard == ["open", "message 1", "close 4401 by server"])
    }

    @Test("A token that was renewed does not expire with the old one")
    func renewedInTime() throws {
        let rig = try SessionRig()
        try rig.untilGone({ try Self.open($0, Self.token("alice", expiresIn: -1)) }) { client in
            let isAdopted = client.session.adopt(Self.token("alice"))
            #expect(isAdopted && rig.users.all == ["alice": 1])
            rig.passes(.seconds(2))
            #expect(client.transport.log == [])
            client.leaves()
            try rig.app.answer(204)
        }
    }

    @Test("A renewal does not undo the name that the app has given")
    func renewalKeepsName() throws {
        let rig = try SessionRig()
        try rig.untilGone({ try Self.open($0, Self.token("alice"), "Sidesocket-User: bob\r\n") }) { client in
            let isAdopted = client.session.adopt(Self.token("alice"))
            #expect(isAdopted && rig.users.all == ["bob": 1])
            client.leaves()
            try rig.app.answer(204)
        }
    }

    // MARK: Tokens as messages

    /// Signed with HS256 and the key of ``authenticator()``; valid until 2100, or until 2001.
    private enum Token {
        private static let head = "eyJhbGciOiJIUzI1NiJ9."
        static let alice =
            head + "eyJzdWIiOiJhbGljZSIsImV4cCI6NDEwMjQ0NDgwMH0.9aTEpZ-Rx8YiI7_Ipk3jFWDxj9lFBb0BWIFx_AlDbxY"
        static let bob = head + "eyJzdWIiOiJib2IiLCJleHAiOjQxMDI0NDQ4MDB9.zJwCjzi5WfDHGpEy98DzZJckxNgJqFmNE6hHFGHllNs"
        static let old =
            head + "eyJzdWIiOiJhbGljZSIsImV4cCI6MTAwMDAwMDAwMH0.64OrUM9bC-gRiN1g6--WdL5D520AEc2DFAOVGSLvTZo"
    }

    private static let settings = [
        "AUTH": "required", "JWT_KEY": "0123456789abcdef0123456789abcdef", "JWT_ALGORITHMS": "HS256",
        "JWT_SOURCES": "message", "AUTH_TIMEOUT": "10s",
    ]

    private static func authenticator() async throws -> Authenticator {
        try #require(try await Authenticator.make(TestSettings.make(settings)))
    }

    /// A client that has to send its token first.
    private static func unknown(_ rig: SessionRig) throws -> SessionClient {
        let client = try rig.makeClient()
        client.session.startAwaitingToken()
        client.session.attach(client.transport, responder: client.responder)
        // The socket is open already.
        client.responder.transport = nil
        return client
    }

    /// A client that has, and that the app has accepted.
    private static func known(_ rig: SessionRig) throws -> SessionClient {
        let client = try unknown(rig)
        client.send(Token.alice)
        try rig.app.answer(204)
        return client
    }

    /// Plays with a client, on one thread.
    private func play(
        _ environment: [String: String] = [:],
        _ make: (SessionRig) throws -> SessionClient = Self.unknown,
        with authenticator: Authenticator,
        _ play: (SessionRig, SessionClient) throws -> Void
    ) throws {
        let rig = try SessionRig(Self.settings.merging(environment) { $1 }, authenticator: authenticator)
        try rig.untilGone(make) { try play(rig, $0) }
    }

    @Test("With a token as its first message a client is asked about, and takes no messages until it is accepted")
    func firstMessage() async throws {
        try play(with: await Self.authenticator()) { rig, client in
            #expect(rig.app.heard == [] && !client.session.mustPauseReading)
            client.send(Token.alice)
            #expect(rig.app.asked == "open" && rig.users.all == ["alice": 1])
            #expect(client.session.mustPauseReading)
            try rig.app.answer(204)
            #expect(client.responder.decisions == ["accept 204"])
            #expect(!client.session.mustPauseReading && client.session.isRunning)
            rig.passes(.seconds(11))
            client.send("x")
            #expect(rig.app.asked == "message x")
            try rig.app.answer(204)
            client.leaves()
            try rig.app.answer(204)
        }
    }

    @Test(
        "A client whose first message is no good token is closed, and the app never hears of it",
        arguments: [
            ("hello", "close 4401 The token is malformed."), (Token.old, "close 4401 The token has expired."),
            (Token.alice + "x", "close 4401 The token's signature is wrong."),
        ]
    )
    func badFirstMessage(text: String, close: String) async throws {
        try play(with: await Self.authenticator()) { rig, client in
            client.send(text)
            #expect(client.transport.log == [close])
            client.breaks()
            #expect(rig.app.heard == [])
        }
    }

    @Test("So is one that sends none in time, and one that goes before it has")
    func noFirstMessage() async throws {
        let authenticator = try await Self.authenticator()
        try play(with: authenticator) { rig, client in
            rig.passes(.seconds(9))
            #expect(client.transport.log == [])
            rig.passes(.seconds(2))
            #expect(client.transport.log == ["close 4401 no token was received in time"])
            #expect(rig.app.heard == [])
        }
        try play(with: authenticator) { rig, client in
            client.breaks()
            rig.passes(.seconds(11))
            #expect(client.transport.log == [] && rig.app.heard == [])
        }
    }

    @Test("A drain closes who has not sent its token")
    func drainsUnknown() async throws {
        try play(with: await Self.authenticator()) { rig, client in
            rig.context.registry.drain(over: .zero)
            #expect(client.transport.log == ["close 1012 the server is restarting"])
            #expect(rig.app.heard == [])
        }
    }

    @Test("A user who was banned meanwhile, or has too many connections, is closed at its token")
    func firstMessageRefused() async throws {
        let authenticator = try await Self.authenticator()
        try play(with: authenticator) { rig, client in
            _ = rig.bans.add(.user("alice"), for: .seconds(600), reason: "test")
            client.send(Token.alice)
            #expect(client.transport.log == [Self.denied] && rig.app.heard == [])
        }
        try play(["MAX_CONNECTIONS_PER_USER": "1"], with: authenticator) { rig, client in
            let other = try Self.known(rig)
            client.send(Token.alice)
            #expect(client.transport.log == [Self.full] && rig.users.all == ["alice": 1])
            other.leaves()
            try rig.app.answer(204)
            #expect(rig.app.heard == ["open", "close 1001 by client"])
        }
    }

    @Test("A token in a later message renews, and is not passed on")
    func renewal() async throws {
        try play([:], Self.known, with: await Self.authenticator()) { rig, client in
            client.send("sidesocket.bearer.\(Token.alice)")
            #expect(rig.app.asked == nil && client.transport.log == [] && rig.users.all == ["alice": 1])
            client.leaves()
            try rig.app.answer(204)
        }
    }

    @Test(
        "One that is no good closes, and what waits is dropped",
        arguments: [
            (Token.bob, "close 4403 the token is for another user"), (Token.old, "close 4401 The token has expired."),
            ("x", "close 4401 The token is malformed."),
        ]
    )
    func badRenewal(token: String, close: String) async throws {
        try play([:], Self.known, with: await Self.authenticator()) { rig, client in
            client.send("1")
            client.send("2")
            client.send("sidesocket.bearer.\(token)")
            #expect(client.transport.log == [close])
            for _ in 0..<2 { try rig.app.answer(204) }
            #expect(rig.app.heard.dropFirst(2).count == 1, "the second message is dropped")
        }
    }

    @Test("One that the app sends is taken when it is for the same user, and otherwise left")
    func renewedByApp() async throws {
        try play([:], Self.known, with: await Self.authenticator()) { rig, client in
            let line = "new token from the app refused"
            client.send("1")
            try rig.app.answer(204, "Sidesocket-Token: \(Token.alice)\r\n")
            #expect(!rig.log.messages.contains(line))
            client.send("2")
            try rig.app.answer(204, "Sidesocket-Token: \(Token.bob)\r\n")
            #expect(rig.log.messages.contains(line))
            #expect(client.transport.log == [] && client.session.user == "alice")
            _ = rig.bans.add(.user("alice"), for: .seconds(600), reason: "test")
            let renewal = client.session.renewed(with: Token.alice)
            #expect(renewal == .refused("The user is banned."))
            client.leaves()
            let late = client.session.renewed(with: Token.alice)
            #expect(late == .noConnection)
            try rig.app.answer(204)
        }
    }

    // MARK: Revalidation

    private static let revalidating = ["REVALIDATE_INTERVAL": "1m", "WEBHOOK_RETRY_FOR": "off"]

    @Test("The app is asked again and again, and its reply counts like any other")
    func revalidates() throws {
        let rig = try SessionRig(Self.revalidating)
        try rig.untilGone { client in
            rig.passes(.seconds(53))
            #expect(rig.app.asked == nil)
            for wait in [14, 67] {
                rig.passes(.seconds(Int64(wait)))
                #expect(rig.app.asked == "revalidate")
                try rig.app.answer(204, "Sidesocket-User: alice\r\n")
            }
            #expect(rig.users.all == ["alice": 1] && client.transport.log == [])
            client.leaves()
            rig.passes(.seconds(60))
            try rig.app.answer(204)
        }
        #expect(rig.app.heard == ["open", "revalidate", "revalidate", "close 1001 by client"])
    }

    @Test("It waits behind the messages that came before it")
    func revalidatesInOrder() throws {
        let rig = try SessionRig(Self.revalidating)
        try rig.untilGone { client in
            client.send("1")
            client.send("2")
            client.session.revalidate()
            client.send("3")
            client.leaves()
            for _ in 0..<5 { try rig.app.answer(204) }
        }
        #expect(
            rig.app.heard == ["open", "message 1", "message 2", "revalidate", "message 3", "close 1001 by client"]
        )
    }

    @Test("A client that is not confirmed is closed", arguments: [302, 403, 500])
    func notConfirmed(status: Int) throws {
        let rig = try SessionRig(Self.revalidating)
        try rig.untilGone { client in
            client.session.revalidate()
            client.send("dropped")
            try rig.app.answer(status)
            #expect(client.transport.log == ["close 4403 no longer welcome"])
            try rig.app.answer(204)
        }
        #expect(rig.app.heard == ["open", "revalidate", "close 4403 by server"])
    }

    @Test("An app that cannot be reached closes it as with a message")
    func revalidationFails() throws {
        let rig = try SessionRig(Self.revalidating)
        try rig.untilGone { client in
            client.session.revalidate()
            try rig.app.fail(.timeout)
            #expect(client.transport.log == ["close 1013 the application is not available"])
            try rig.app.answer(204)
        }
        #expect(rig.closes == ["close 1013 by server"])
    }
}
