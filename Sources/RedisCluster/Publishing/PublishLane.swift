import DequeModule
import NIOCore
import SidecarCore

/// The publications of this node to the channels of one hash tag, in their order.
///
/// Each gets a number when it is sent first, and keeps it when it is sent again; the script carries out each number once.
/// After a failure nothing more is sent until the engine has answered all that is under way, so that what is sent again
/// keeps its place.
struct PublishLane {
    /// How far the numbers under way may be apart. The script remembers as many.
    static let window: UInt64 = 256

    private(set) var waiting: Deque<PendingPublication> = []
    private var underWay: Deque<PendingPublication> = []
    /// To be sent again, by number.
    private var failed: [PendingPublication] = []
    private var lastNumber: UInt64 = 0

    /// Whether nothing is left.
    var isEmpty: Bool { waiting.isEmpty && underWay.isEmpty && failed.isEmpty }
    /// Whether failed publications wait for those under way.
    var isSettling: Bool { !failed.isEmpty }

    /// Adds a publication behind the others.
    mutating func append(_ publication: PendingPublication) { waiting.append(publication) }

    /// Takes the next publication to send; nil when there is none for now.
    mutating func next() -> PendingPublication? {
        guard failed.isEmpty, let first = waiting.first else { return nil }
        if first.number == nil {
            let oldest = underWay.first?.number ?? lastNumber + 1
            guard lastNumber + 1 - min(oldest, lastNumber + 1) < Self.window else { return nil }
            lastNumber += 1
            first.number = lastNumber
        }
        waiting.removeFirst()
        underWay.append(first)
        return first
    }

    /// A publication has its answer, or will not be sent again.
    mutating func ended(_ publication: PendingPublication) {
        // Answers mostly come in order.
        if let index = underWay.firstIndex(where: { $0 === publication }) { underWay.remove(at: index) }
        settle()
    }

    /// A publication has to be sent again.
    mutating func failed(_ publication: PendingPublication) {
        if let index = underWay.firstIndex(where: { $0 === publication }) { underWay.remove(at: index) }
        failed.append(publication)
        settle()
    }

    private mutating func settle() {
        guard !failed.isEmpty, underWay.isEmpty else { return }
        failed.sort { ($0.number ?? 0) < ($1.number ?? 0) }
        waiting.insert(contentsOf: failed, at: 0)
        failed = []
    }

    /// Takes the publications whose time is over, unless they are under way.
    mutating func takeExpired(_ now: NIODeadline) -> [PendingPublication] {
        guard waiting.contains(where: { $0.deadline <= now }) else { return [] }
        let expired = waiting.filter { $0.deadline <= now }
        waiting.removeAll { $0.deadline <= now }
        return Array(expired)
    }

    /// Takes everything that is not under way.
    mutating func takeAll() -> [PendingPublication] {
        defer {
            waiting = []
            failed = []
        }
        return Array(waiting) + failed
    }
}

/// A publication that the engine has not answered.
final class PendingPublication {
    let envelope: ChannelEnvelope
    let id: MessageID
    let idempotencyKey: String?
    let body: ByteBuffer
    /// When it is given up.
    let deadline: NIODeadline
    /// Nil for what a reply of the app publishes, for which nobody waits.
    let completion: ChannelBroker.PublishCompletion?
    /// Its number in the lane; nil until it is sent first.
    var number: UInt64?
    /// Whether the engine may have carried it out.
    var mayBePublished = false
    /// What the engine assigned, while it waits for replicas.
    var stamp: PublicationStamp?
    /// Its position, while it waits for the message to come back to this node.
    var position: ChannelPosition?
    /// When it no longer waits for that.
    var givenUpAt: NIODeadline?
    /// Whether the message has come back already.
    var isReceived = false

    init(
        _ envelope: ChannelEnvelope,
        id: MessageID,
        idempotencyKey: String?,
        origin: String,
        deadline: NIODeadline,
        completion: ChannelBroker.PublishCompletion?
    ) {
        self.envelope = envelope
        self.id = id
        self.idempotencyKey = idempotencyKey
        self.deadline = deadline
        self.completion = completion
        body = MessageBody.write(envelope, origin: origin)
    }

    /// What it counts for, in bytes.
    var bytes: Int { body.readableBytes + 200 }
    var channel: ChannelName { envelope.publication.channel }
}
