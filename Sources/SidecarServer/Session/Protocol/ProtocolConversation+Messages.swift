import NIOCore
import SidecarCore

/// Messages of the client, and what the app answers.
extension ProtocolConversation {
    /// A message of the client whose reply is being applied.
    struct Answering {
        let id: String
        var isAnswered = false
    }

    // MARK: From the client

    /// A message of the client has come, within its rates.
    func received(_ format: MessageFormat, _ message: ByteBuffer, at now: NIODeadline) {
        let frame: ClientFrame
        do throws(ClientFrameFault) {
            frame = try encoding.read(format, message)
        } catch {
            return refuse(error)
        }
        if isWelcomed, session.transport?.confirmsByFrames != false { confirm() }
        if session.resumeAttempt != nil {
            guard case .resume(let request) = frame else {
                return tell(ProtocolError(.badFrame, about: frame.id, "the first frame must be $resume"))
            }
            return session.resume(request)
        }
        switch frame {
        case .message(let label, let format, let payload): take(label, format, payload, at: now)
        case .acknowledge(let seq): acknowledge(seq)
        case .ping: write(.pong)
        case .pong: break
        case .resume: tell(ProtocolError(.badFrame, about: nil, "there is nothing to resume now"))
        case .token(let token, let id): renew(with: token, id)
        case .close: session.clientCloses()
        case .clientEvent(let event): broadcast(event, at: now)
        }
    }

    private func refuse(_ fault: ClientFrameFault) {
        switch fault {
        case .notAFrame(let reason):
            session.countViolation()
            session.close(code: .badFrame, reason: reason, for: .protocolError)
        case .badFrame(let id, let message): tell(ProtocolError(.badFrame, about: id, message))
        }
    }

    private func acknowledge(_ seq: UInt64) {
        guard stream.acknowledge(seq) else {
            return tell(ProtocolError(.badFrame, about: nil, "seq is beyond what was sent"))
        }
        account()
    }

    /// The client has got everything up to a number, as its next request shows.
    func hasGot(_ seq: UInt64) {
        if stream.acknowledge(seq) { account() }
    }

    private func take(_ label: MessageLabel, _ format: MessageFormat, _ payload: ByteBuffer, at now: NIODeadline) {
        if let id = label.id {
            switch requests.received(id, at: now) {
            case .new: break
            case .inProgress: return tell(ProtocolError(.inProgress, about: id, "The message is being handled."))
            case .answered(let answer): return repeated(answer, to: id)
            }
        }
        session.accept(format, payload, label: label, at: now)
    }

    private func repeated(_ answer: RequestLedger.Answer, to id: String) {
        switch answer {
        case .message(let frame): write(frame)
        case .acknowledged: write(.acknowledged(id, isRepeat: true))
        case .error(let error): tell(error)
        }
    }

    // MARK: Tokens

    private func renew(with token: String, _ id: String?) {
        switch session.renewed(with: token) {
        case .renewed: if let id { write(.acknowledged(id, isRepeat: false)) }
        case .refused(let why):
            session.countViolation()
            tell(ProtocolError(.unauthorized, about: id, why))
        case .noConnection: break
        }
    }

    /// The first frame was a valid token.
    func tokenTaken(_ id: String) { write(.acknowledged(id, isRepeat: false)) }

    // MARK: The app's reply to a message

    /// What is sent from now on, until ``endAnswer()``, is the reply to this message.
    func beginAnswer(to label: MessageLabel?) {
        answering = label?.id.map { Answering(id: $0) }
    }

    /// The reply was applied; a client whose message got no answer is told that the app has handled it.
    func endAnswer() {
        guard let answered = answering.take(), !answered.isAnswered else { return }
        remember(.acknowledged, of: answered.id)
        write(.acknowledged(answered.id, isRepeat: false))
    }

    /// The app did not accept a message.
    func failed(_ label: MessageLabel?, _ failure: DeliveryFailure, content: ProtocolError.Content?) {
        guard let id = label?.id else { return }
        let error = ProtocolError(failure, about: id, content: content)
        if error.mayRetry { requests.forget(id) } else { remember(.error(error.compacted()), of: id) }
        tell(error)
    }

    private func remember(_ answer: RequestLedger.Answer, of id: String) {
        requests.answered(id, answer, limit: context.settings.maxSendBufferBytes, at: .now())
        account()
    }

    // MARK: To the client

    /// Sends a message of the app to this client, or keeps it for the client's return.
    ///
    /// - Parameter type: Its type; nil for the usual one.
    func send(_ format: MessageFormat, _ payload: ByteBuffer, type: String?) {
        var id: String?
        if let current = answering, !current.isAnswered {
            answering?.isAnswered = true
            id = current.id
        }
        let message = SentMessage(
            type: type,
            answers: id,
            seq: stream.next,
            time: WallClock.unixMilliseconds(),
            format: format,
            payload: payload
        )
        let frame = encoding.write(.message(message))
        session.machine.sent()
        keep(frame)
        if let id { remember(.message(frame), of: id) }
        // What is kept goes out with the replay, which has not begun yet.
        if terms == nil || isWelcomed { write(frame) }
    }

    /// Where sessions can be resumed, a message is kept until the client has acknowledged it.
    private func keep(_ frame: ByteBuffer) {
        guard terms != nil else { return stream.count() }
        let fits = stream.append(frame, limit: context.settings.maxSendBufferBytes)
        if !fits {
            context.metrics.limited(.sessionBuffer, action: .refused)
            if phase == .detached { return session.endAbsent() }
        }
        account()
    }

    /// What the client gets before we close the connection.
    ///
    /// - Parameter delay: After how many milliseconds it should return; nil for not at all.
    func farewell(_ code: SessionCloseCode, returnAfter delay: Int64?) -> [ByteBuffer] {
        guard isWelcomed else { return [] }
        var frames: [ServerFrame] = []
        if let answered = answering.take(), !answered.isAnswered {
            remember(.acknowledged, of: answered.id)
            frames.append(.acknowledged(answered.id, isRepeat: false))
        }
        frames.append(.bye(code, reconnectAfter: delay))
        return frames.map { encoding.write($0) }
    }
}
