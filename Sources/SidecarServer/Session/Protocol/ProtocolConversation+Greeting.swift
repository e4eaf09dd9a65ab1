import DequeModule
import NIOCore
import SidecarCore

/// The beginning of a connection: what the client is told first, and what it has missed.
///
/// ```
/// $welcome, its own messages by seq, each channel by offset, $live, what is new
/// ```
extension ProtocolConversation {
    /// The client is there, in its channels, and has said what it has.
    func begin(_ start: Start) {
        self.start = start
        for channel in session.channels.names { ask(feeds.joined(channel, after: known(channel))) }
        phase = .greeting
        welcomeWhenReady()
    }

    /// The position that the client has in a channel; nil for a client that begins there.
    private func known(_ channel: ChannelName) -> ChannelPosition? {
        guard let request = start.request else { return nil }
        let claimed = request.channels[channel]
        if start.isResumed {
            // One from before the session joined is as good as none that is known.
            return places.start(in: channel, after: claimed) ?? .unknown(in: channel)
        }
        return claimed.map { ChannelPosition(offset: $0.offset, epoch: $0.epoch, id: $0.id, in: channel) }
    }

    func welcomeWhenReady() {
        guard phase == .greeting, !feeds.isAsking, session.isRunning else { return }
        let seq = start.isResumed ? start.request?.seq ?? 0 : 0
        let channels = session.channels.names.sorted()
        let welcome = Welcome(
            session: session.id,
            isResumed: start.isResumed,
            resume: wayBack(),
            ping: context.configuration.heartbeat.pingInterval.map { $0.nanoseconds / 1_000_000 },
            maxBytes: context.settings.maxMessageBytes,
            seq: seq,
            user: session.user,
            channels: channels.map { channel in
                guard let beginning = feeds.beginning(of: channel) else { return (channel, .pending) }
                let members = context.channels.members(of: channel)
                return (channel, .position(beginning.position, isRecovered: beginning.isRecovered, members: members))
            },
            features: context.features
        )
        // All of it is there before anything is sent, since what is sent may show that more can be.
        phase = .replaying
        missed = [encoding.write(.welcome(welcome))] + (stream.frames(after: seq) ?? [])
        for channel in channels { queueReplay(of: channel) }
        goOn()
    }

    private func queueReplay(of channel: ChannelName) {
        guard let beginning = feeds.beginning(of: channel) else { return }
        places.joined(channel, ifNewAt: beginning.position)
        guard !beginning.replay.isEmpty else { return }
        replays.append(Replay(channel: channel, epoch: beginning.upTo.epoch, messages: beginning.replay[...]))
    }

    /// Sends as much of the replay as the client takes, and then what is new.
    ///
    /// What waits here is not in the send buffer: it is in the history.
    func goOn() {
        guard isWelcomed, !isGoingOn else { return }
        isGoingOn = true
        replay()
        isGoingOn = false
    }

    private func replay() {
        while let frame = missed.first {
            guard let transport = session.transport, session.isRunning, transport.isClear else { return }
            missed.removeFirst()
            send(frame)
        }
        while let replay = replays.first {
            guard let transport = session.transport, session.isRunning, transport.isClear else { return }
            guard let message = replay.messages.first else {
                replays.removeFirst()
                if phase == .live { passOn(replay.channel) }
                continue
            }
            replays[0].messages.removeFirst()
            send(message, of: replay)
        }
        if phase == .replaying { goLive() }
        if !staleMembers.isEmpty { resetMembers() }
    }

    private func send(_ message: StoredMessage, of replay: Replay) {
        let position = ChannelPosition(
            offset: message.offset,
            epoch: replay.epoch,
            id: message.id,
            in: replay.channel
        )
        let frame = encoding.publication(
            message.format,
            message.payload,
            event: message.event,
            at: position,
            of: replay.channel,
            time: message.time
        )
        session.noteSent(message.format, payloadBytes: message.payload.readableBytes)
        session.transport?.send(encoding.format, frame)
    }

    private func goLive() {
        phase = .live
        if start.request != nil { send(.live) }
        sendHeld()
        for channel in feeds.known { passOn(channel) }
    }

    /// The client has got what it has missed of a channel.
    private func passOn(_ channel: ChannelName) {
        let held = feeds.passOn(channel)
        if let lost = held.lost { send(.gap(channel, lost.position)) }
        for delivery in held.deliveries { _ = session.pass(delivery) }
    }

    // MARK: Channels

    /// The client has joined a channel.
    func joined(_ channel: ChannelName) {
        switch phase {
        case .greeting, .replaying, .live: ask(feeds.joined(channel))
        case .waiting: break
        case .detached:
            // Its place is wherever the channel is now.
            context.channels.read(channel, after: nil, reader: 0) { [weak session] replay in
                guard let replay else { return }
                session?.conversation?.places.joined(channel, ifNewAt: replay.upTo)
            }
        }
    }

    private func ask(_ question: ChannelFeeds.Question) {
        let reader = StreamCursor.reader(start.isResumed ? session.id : start.request?.session ?? session.id)
        context.channels.read(question.channel, after: question.known, reader: reader) { [weak session] replay in
            session?.conversation?.answered(question, replay)
        }
    }

    private func answered(_ question: ChannelFeeds.Question, _ replay: ChannelReplay?) {
        if let beginning = feeds.answered(question, replay), isWelcomed { tell(beginning, of: question.channel) }
        welcomeWhenReady()
    }

    private func tell(_ beginning: ChannelFeeds.Beginning, of channel: ChannelName) {
        let members = context.channels.members(of: channel)
        write(.joined(channel, beginning.position, isRecovered: beginning.isRecovered, members: members))
        queueReplay(of: channel)
        if phase == .live, beginning.replay.isEmpty { passOn(channel) }
        goOn()
    }

    /// Whether the client knows that it is in a channel: `$welcome` has named it, or `$joined`.
    func isTold(of channel: ChannelName) -> Bool {
        isWelcomed && (feeds.isLive(channel) || feeds.beginning(of: channel) != nil)
    }

    /// The client has left a channel.
    func left(_ channel: ChannelName) {
        let wasTold = isTold(of: channel)
        feeds.left(channel)
        places.left(channel)
        replays.removeAll { $0.channel == channel }
        if wasTold { write(.left(channel)) }
        welcomeWhenReady()
    }

    /// Whether a publication has to wait.
    func holds(_ delivery: ChannelDelivery) -> Bool { !feeds.isEmpty && feeds.hold(delivery) }

    /// A publication was not for this client.
    func skipped(_ delivery: ChannelDelivery, after before: ChannelPosition?) {
        places.skipped(delivery.channel, delivery.position, after: before)
    }

    /// Messages of a channel are received again, from a position on.
    func resumed(_ channel: ChannelName, isComplete: Bool, at position: ChannelPosition) {
        switch feeds.resumed(channel, isComplete: isComplete, at: position) {
        case nil: break
        case .begins(let beginning): if isWelcomed { tell(beginning, of: channel) }
        case .ask(let question): ask(question)
        case .gap: if isWelcomed { write(.gap(channel, position)) }
        }
    }
}

extension ChannelPosition {
    /// A position that no channel has.
    fileprivate static func unknown(in channel: ChannelName) -> ChannelPosition {
        ChannelPosition(offset: 0, epoch: ChannelEpoch(0), id: MessageID(0), in: channel)
    }
}
