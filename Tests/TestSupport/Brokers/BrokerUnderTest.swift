package import NIOCore
package import SidecarCore

/// A broker, what it has told its node, and its time. It may answer at once or later, on any thread.
package struct BrokerUnderTest: Sendable {
    static let ttl = TimeAmount.seconds(10)

    package let broker: any ChannelBroker
    package let events: BrokerEventRecorder
    /// Lets time pass for it.
    let pass: @Sendable (TimeAmount) async throws -> Void

    package init(
        broker: any ChannelBroker,
        events: BrokerEventRecorder,
        pass: @escaping @Sendable (TimeAmount) async throws -> Void
    ) {
        self.broker = broker
        self.events = events
        self.pass = pass
    }

    static func envelope(
        _ text: String,
        to channel: ChannelName,
        excluding id: String? = nil,
        context: (any AnyObject & Sendable)? = nil
    ) -> ChannelEnvelope {
        let publication = Publication(channel: channel, format: .text, payload: ByteBuffer(string: text))
        return ChannelEnvelope(publication, excluding: id.map(ExcludedConnection.init), context: context)
    }

    func publish(_ envelope: ChannelEnvelope, id: String? = nil) async throws -> ChannelPosition {
        let result: Result<ChannelPosition, ChannelFailure> = try await answer { completion in
            broker.publish(envelope, id: id) { completion($0) }
        }
        return try result.get()
    }

    @discardableResult
    func publish(_ text: String, to channel: ChannelName, excluding id: String? = nil) async throws -> ChannelPosition {
        try await publish(Self.envelope(text, to: channel, excluding: id))
    }

    @discardableResult
    func subscribe(
        _ channel: ChannelName,
        after position: ChannelPosition? = nil,
        reader: UInt64 = 0
    ) async throws -> ChannelReplay {
        let result: Result<ChannelReplay, ChannelFailure> = try await answer { completion in
            broker.subscribe(channel, after: position, reader: reader) { completion($0) }
        }
        return try result.get()
    }

    /// The texts of what is kept; nil when it is gone.
    func history(
        _ channel: ChannelName,
        _ part: HistoryPart,
        epoch: ChannelEpoch? = nil,
        limit: Int = 100
    ) async throws -> [String]? {
        do throws(ChannelFailure) {
            let found = try await broker.history(of: channel, part, epoch: epoch?.description, limit: limit)
            return found.messages.map { String(buffer: $0.payload) }
        } catch {
            // The compiler does not take a pattern here.
            guard error == .gone else { throw error }
            return nil
        }
    }

    func head(_ channel: ChannelName) async throws -> ChannelHead { try await broker.head(of: channel) }

    func replay(
        _ channels: [ChannelName],
        since cursor: StreamCursor?
    ) async throws -> (texts: [String], isComplete: Bool) {
        let result: Result<Replay, ChannelFailure> = try await answer { completion in
            broker.replay(of: channels, since: cursor, room: 1 << 20, overhead: 100) { completion($0) }
        }
        let replay = try result.get()
        return (replay.messages.map { String(buffer: $0.message.payload) }, replay.isComplete)
    }
}
