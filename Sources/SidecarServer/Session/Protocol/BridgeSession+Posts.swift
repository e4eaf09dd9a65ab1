import NIOCore
import SidecarCore

/// A client that speaks the protocol over HTTP.
extension BridgeSession {
    /// A POST with the token of this session has come.
    func post(_ post: ProtocolPost, _ key: OpeningKey?, _ terms: ResumeTerms, _ pending: PendingPost) {
        let isFirst = post.number == 1
        guard let conversation, machine.isRunning, terms == conversation.terms,
            let transport = transport as? any PostTransport,
            isFirst ? transport.wasOpened(by: post, key) : conversation.hasShownNewest(post.sender)
        else { return pending.reply(isFirst ? .opens : .ended) }
        transport.posts.take(post, pending)
    }

    /// A first POST has come whose key is that with which this session was begun.
    ///
    /// - Parameter isForStream: Whether it asks for one long answer, which cannot be given twice.
    func postAgain(
        _ post: ProtocolPost,
        _ key: OpeningKey,
        _ terms: ResumeTerms,
        isForStream: Bool,
        _ pending: PendingPost
    ) {
        guard machine.isRunning || machine.hasEnded else { return pending.reply(.notYet) }
        guard let conversation, !conversation.isConfirmed, !machine.hasEnded else { return pending.reply(.opens) }
        let transport = transport
        if !isForStream, let transport = transport as? any PostTransport, transport.wasOpened(by: post, key) {
            return self.post(post, key, terms, pending)
        }
        // Nobody has got the answer, so nobody knows the session.
        end(code: .abnormal, reason: "", initiator: .network)
        transport?.close(code: .replaced, reason: "the client has begun anew")
        pending.reply(.opens)
    }

    /// Its connection ends: what its client has sent over HTTP, and was told to have arrived, still goes to the app.
    func passOnPosts() {
        guard conversation != nil else { return }
        (transport as? any PostTransport)?.posts.passOnRest()
    }

    /// The client has said that it leaves.
    func clientCloses() {
        guard let transport = transport as? any PostTransport else {
            conversation?.tell(ProtocolError(.badFrame, about: nil, "a WebSocket is closed by a Close frame"))
            return
        }
        let farewell = conversation?.farewell(.normal, returnAfter: nil) ?? []
        end(code: .normal, reason: "", initiator: .client)
        transport.close(code: .normal, reason: "", farewell: farewell)
    }
}

extension ProtocolConversation {
    fileprivate func hasShownNewest(_ sender: ProtocolPost.Sender) -> Bool {
        if case .session(let token) = sender { isNewest(token.hash) } else { false }
    }
}
