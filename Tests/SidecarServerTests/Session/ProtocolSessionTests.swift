import NIOCore
import NIOEmbedded
import SidecarCore
import Testing

@testable import SidecarServer

@Suite("Sessions whose clients speak the protocol")
struct ProtocolSessionTests {
    private let rig: SessionRig
    private let room: ChannelName

    init() throws {
        rig = try SessionRig(["HISTORY_SIZE": "10"])
        room = try #require(ChannelName("room"))
    }

    /// Publishes as another event loop does: what the subscribers of this loop get waits until its next turn.
    private func publish(_ text: String) {
        rig.state.channels.publish(
            Publication(channel: room, format: .text, payload: ByteBuffer(string: text)),
            excluding: nil
        )
    }

    private func open() throws -> SessionClient {
        let client = try rig.makeClient()
        client.session.speak(.json, nil)
        client.session.start(responder: client.responder)
        try rig.app.answer(204, "Sidesocket-Subscribe: room\r\n")
        return client
    }

    @Test("What was published before a client came, and waits for its loop, does not come behind its beginning")
    func inboxIsEmptyBeforeTheBeginning() throws {
        let other = try rig.open("Sidesocket-Subscribe: room\r\n")
        publish("first")
        let client = try open()
        rig.loop.run()
        let welcome = try #require(client.transport.log.first)
        #expect(welcome.contains(#""type":"$welcome""#) && welcome.contains(#""room":{"offset":1,"#))
        #expect(client.transport.log.count == 1, "\(client.transport.log)")
        #expect(other.transport.log == ["publish first"])
        publish("second")
        rig.loop.run()
        #expect(client.transport.log.count == 2 && client.transport.log.last == "publish second")
        client.leaves()
        other.leaves()
    }

    @Test("A reply whose publication shows that the client has gone is an answer all the same")
    func goneDuringTheReply() throws {
        let client = try rig.makeClient()
        let head = try Samples.head("GET /ws?room=1 HTTP/1.1", "Host: a")
        client.session.speak(.json, ResumeTerms(head, .json, cookies: []))
        client.session.start(responder: client.responder)
        try rig.app.answer(204, "Sidesocket-Subscribe: room\r\n")
        rig.loop.run()
        let post = ByteBuffer(string: #"{"type":"post","id":"a"}"#)
        client.session.received(.text, post, at: .now())
        client.transport.onPublish = {
            client.session.transportEnded(client.transport, code: .abnormal, reason: "", initiator: .network)
        }
        try rig.app.answer(200, "Sidesocket-Publish: room\r\nContent-Type: text/plain\r\n", body: "news")
        rig.loop.run()
        #expect(client.session.conversation?.absence != nil, "the client has gone")
        let known = client.session.conversation?.requests.received("a", at: .now())
        guard case .answered(.acknowledged)? = known else {
            Issue.record("the answer is not known: \(String(describing: known))")
            return
        }
    }
}
