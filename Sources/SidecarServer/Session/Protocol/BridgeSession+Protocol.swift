import NIOCore
import SidecarCore

/// What differs for a client of the protocol.
extension BridgeSession {
    /// From now on the client speaks the protocol.
    ///
    /// - Parameter terms: What has to be the same when it returns.
    func speak(_ encoding: ProtocolEncoding, _ terms: ResumeTerms?) {
        conversation = ProtocolConversation(encoding, terms: terms, of: self)
    }

    /// What messages look like on its transport, where that is a WebSocket.
    var messageCodec: MessageCodec { conversation.map { .protocolFrames($0.encoding) } ?? .rawFrames }

    /// The first frame of a client that has yet to authenticate.
    func takeFirstFrame(_ format: MessageFormat, _ payload: ByteBuffer) {
        guard let conversation, let known = identity.token else { return }
        do throws(ClientFrameFault) {
            guard case .token(let token, let id) = try conversation.encoding.read(format, payload) else {
                return refuseToken("the first frame is not $token")
            }
            takeFirstToken(token, known)
            if let id, awaitsApp { conversation.tokenTaken(id) }
        } catch {
            refuseToken("the first frame is not $token")
        }
    }

    /// What the app said when it did not accept a message.
    func content(of delivery: EndedDelivery) -> ProtocolError.Content? {
        delivery.rejection.flatMap { head, body in context.configuration.dialect.content(head, body) }
    }
}
