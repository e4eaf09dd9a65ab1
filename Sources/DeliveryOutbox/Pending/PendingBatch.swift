/// The records since the last write, folded into one state per connection, so that those which cancel out are gone.
///
/// Its size follows from the connections and messages that are open, not from how long the disk has been away.
struct PendingBatch: Sendable {
    private(set) var connections: [String: PendingConnection] = [:]
    private(set) var messages = PendingMessages()

    /// True if there is nothing to write.
    var isEmpty: Bool { connections.isEmpty }

    // MARK: - Journal

    /// A new connection; a second opening of the same one changes nothing.
    mutating func opened(id: String, _ opening: PendingConnection.Opening) {
        if connections[id]?.opening == nil { connections[id, default: PendingConnection()].opening = opening }
    }

    /// Another identity.
    mutating func identityChanged(id: String, identity: [UInt8]) {
        connections[id, default: PendingConnection()].identify(as: identity)
    }

    /// A message, counted unless it was before.
    mutating func accepted(_ message: PendingMessages.Slot, counts: Bool = true) {
        connections[message.id, default: PendingConnection()].accept(message, counts: counts, in: &messages)
    }

    /// A message that is counted and not kept.
    mutating func counted(id: String) {
        connections[id, default: PendingConnection()].messagesIn += 1
    }

    /// An answered event; the bytes of its message, if they were still here.
    mutating func answered(id: String, sequence: UInt64) -> [UInt8]? {
        connections[id, default: PendingConnection()].answer(sequence, in: &messages)
    }

    /// The end of a connection.
    mutating func closing(id: String, _ close: RecoveredClose) {
        connections[id, default: PendingConnection()].close = close
    }

    /// Nothing of the connection is needed any more.
    mutating func finished(id: String) {
        var connection = connections.removeValue(forKey: id) ?? PendingConnection()
        messages.removeAll(from: &connection.messages)
        if !connection.isNewToFile {
            connections[id] = PendingConnection(forgetsFirst: true)
        }
    }

    // MARK: - Whole batches

    /// Adds the records that came while this batch could not be written.
    mutating func append(_ later: PendingBatch) {
        for (id, connection) in later.connections {
            if connection.forgetsFirst { finished(id: id) }
            if connection.holdsNothingMore { continue }
            if let opening = connection.opening { opened(id: id, opening) }
            if let identity = connection.identity { identityChanged(id: id, identity: identity) }
            for sequence in connection.answered { _ = answered(id: id, sequence: sequence) }
            connections[id, default: PendingConnection()].count(connection)
            if let close = connection.close { closing(id: id, close) }
        }
        later.messages.forEachByAge { accepted($0, counts: false) }
    }

    /// Drops the message that has waited longest; false if there is none.
    mutating func dropOldest() -> Bool {
        guard messages.oldest != PendingMessages.none else { return false }
        let oldest = messages[messages.oldest]
        return connections[oldest.id]?.drop(oldest.sequence, in: &messages) ?? false
    }

    /// Forgets everything but the memory, unless that has become large.
    mutating func clear() {
        connections.removeAll(keepingCapacity: connections.count <= 4096)
        messages.clear()
    }
}

/// What one connection's records amount to since the last write.
struct PendingConnection: Sendable {
    /// A connection that the file does not know yet.
    struct Opening: Sendable {
        /// Its key in the file, and so its position in the order of opening.
        var key: Int64
        /// What requests about it are made of.
        var context: [UInt8]
        /// Who it is.
        var identity: [UInt8]
        /// When it was opened.
        var at: Int64
    }

    /// True if what the file has under this id goes first.
    var forgetsFirst = false
    /// Set if the connection is new.
    var opening: Opening?
    /// Who it is now, if that changed after the opening was written.
    var identity: [UInt8]?
    /// How many messages came in addition.
    var messagesIn = 0
    /// The highest answered sequence.
    var lastAnswered: UInt64 = 0
    /// Messages to write.
    var messages = PendingMessages.Chain()
    /// The first sequence accepted since the last write: neither it nor a later one is on disk.
    var firstAccepted = UInt64.max
    /// Messages to delete, because they may be on disk.
    var answered: [UInt64] = []
    /// How it ended.
    var close: RecoveredClose?

    /// True if nothing came after the connection was forgotten.
    var holdsNothingMore: Bool {
        opening == nil && identity == nil && messagesIn == 0 && lastAnswered == 0 && messages.isEmpty
            && answered.isEmpty && close == nil
    }

    /// True if the file holds nothing of this connection.
    var isNewToFile: Bool { opening != nil && !forgetsFirst }
}

extension PendingConnection {
    fileprivate mutating func identify(as identity: [UInt8]) {
        if opening != nil {
            opening?.identity = identity
        } else {
            self.identity = identity
        }
    }

    fileprivate mutating func count(_ later: PendingConnection) {
        messagesIn += later.messagesIn
        lastAnswered = max(lastAnswered, later.lastAnswered)
        firstAccepted = min(firstAccepted, later.firstAccepted)
    }

    fileprivate mutating func accept(
        _ message: PendingMessages.Slot,
        counts: Bool,
        in pending: inout PendingMessages
    ) {
        if counts { messagesIn += 1 }
        firstAccepted = min(firstAccepted, message.sequence)
        pending.append(message, to: &messages)
    }

    fileprivate mutating func answer(_ sequence: UInt64, in pending: inout PendingMessages) -> [UInt8]? {
        lastAnswered = max(lastAnswered, sequence)
        if let payload = pending.remove(sequence: sequence, from: &messages) { return payload }
        // Without the second condition, messages dropped while the disk is full would leave their sequences here.
        if !isNewToFile, sequence < firstAccepted { answered.append(sequence) }
        return nil
    }

    fileprivate mutating func drop(_ sequence: UInt64, in pending: inout PendingMessages) -> Bool {
        pending.remove(sequence: sequence, from: &messages) != nil
    }
}
