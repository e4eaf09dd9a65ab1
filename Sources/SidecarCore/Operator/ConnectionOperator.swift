public import NIOCore

/// What the API can do with connections, channels and bans.
///
/// An implementation for one process acts on that process's connections. One for a cluster would ask that one and those
/// of other processes, and merge the results: pages by id, counts as sums, and ``OperatorFailure/noConnection`` only if
/// all of them report it. Hence every parameter and result is a value, and every call may take time and may fail with
/// ``OperatorFailure/unavailable(_:)``.
public protocol ConnectionOperator: Sendable {
    /// Connections in the order of their ids.
    func connections(
        _ filter: ConnectionFilter,
        after: String?,
        limit: Int
    ) async throws(OperatorFailure) -> ConnectionPage

    /// One connection.
    ///
    /// - Throws: ``OperatorFailure/noConnection``.
    func connection(_ id: String) async throws(OperatorFailure) -> ConnectionInfo

    /// Sends a message to one connection.
    ///
    /// - Parameter key: Repeats with the same key send nothing, on any node of a cluster. Without a cluster the caller
    ///   ensures that.
    /// - Throws: ``OperatorFailure/noConnection``.
    func send(
        _ message: DirectMessage,
        to id: String,
        idempotencyKey key: String?
    ) async throws(OperatorFailure) -> DeliveryCounts

    /// Sends a message to all connections of a user, if there are any.
    func send(
        _ message: DirectMessage,
        toUser user: UserName,
        idempotencyKey key: String?
    ) async throws(OperatorFailure) -> DeliveryCounts

    /// Sends a message to a channel; the excluded connection does not get it.
    ///
    /// - Parameter key: Repeats with the same key publish nothing, on any node of a cluster. Without a cluster the caller
    ///   ensures that.
    func publish(
        _ publication: Publication,
        excluding id: String?,
        waitsForKernel: Bool,
        idempotencyKey key: String?
    ) async throws(OperatorFailure) -> PublicationReceipt

    /// Sends messages to channels, in their order, without waiting for one before the next.
    ///
    /// - Returns: What came of each.
    func publish(_ list: [ListedPublication]) async -> [Result<PublicationReceipt, OperatorFailure>]

    /// Adds a connection to a channel.
    ///
    /// - Throws: ``OperatorFailure/noConnection`` or ``OperatorFailure/tooManyChannels``.
    func subscribe(_ id: String, to channel: ChannelName) async throws(OperatorFailure)

    /// Removes a connection from a channel; it need not be in it.
    ///
    /// - Throws: ``OperatorFailure/noConnection``.
    func unsubscribe(_ id: String, from channel: ChannelName) async throws(OperatorFailure)

    /// One channel, with a page of the users in it.
    ///
    /// - Throws: ``OperatorFailure/noChannel``.
    func channel(
        _ name: ChannelName,
        usersAfter user: UserName?,
        limit: Int
    ) async throws(OperatorFailure) -> ChannelInfo

    /// A page of channels, by name.
    func channels(prefix: String, after: String?, limit: Int) async throws(OperatorFailure) -> ChannelPage

    /// A part of a channel's history.
    ///
    /// - Throws: ``OperatorFailure/noChannel`` or ``OperatorFailure/historyGone``.
    func history(
        of channel: ChannelName,
        _ part: HistoryPart,
        epoch: String?,
        limit: Int
    ) async throws(OperatorFailure) -> ChannelHistory

    /// The nodes of the cluster, or this one alone.
    func nodes() async throws(OperatorFailure) -> ClusterInfo

    /// Closes a connection.
    ///
    /// - Throws: ``OperatorFailure/noConnection``.
    func close(_ id: String, _ request: CloseRequest) async throws(OperatorFailure)

    /// Closes the connections of a user, and returns their number.
    func closeConnections(ofUser user: UserName, _ request: CloseRequest) async throws(OperatorFailure) -> Int

    /// Gives a connection a new token.
    ///
    /// - Throws: ``OperatorFailure/noConnection``, or ``OperatorFailure/refused(_:)`` for a token that is not valid.
    func renewToken(_ token: String, of id: String) async throws(OperatorFailure)

    /// Adds a ban, and closes the connections that it covers.
    ///
    /// - Throws: ``OperatorFailure/bansFull``.
    func ban(_ subject: BanSubject, for ttl: TimeAmount, reason: String) async throws(OperatorFailure) -> BanReceipt

    /// Ends a ban.
    ///
    /// - Throws: ``OperatorFailure/noBan``.
    func unban(_ subject: BanSubject) async throws(OperatorFailure)

    /// One ban.
    ///
    /// - Throws: ``OperatorFailure/noBan``.
    func ban(of subject: BanSubject) async throws(OperatorFailure) -> BanInfo

    /// All bans.
    func bans() async throws(OperatorFailure) -> [BanInfo]
}

/// A message of a list for channels.
public struct ListedPublication: Sendable, Equatable {
    /// The message.
    public let publication: Publication
    /// The connection that does not get it.
    public let excluded: String?
    /// Whether to wait until the kernel has taken it for the subscribers.
    public let waitsForKernel: Bool
    /// Repeats with the same key publish nothing; see ``ConnectionOperator``.
    public let idempotencyKey: String?

    /// A message.
    public init(
        _ publication: Publication,
        excluding excluded: String?,
        waitsForKernel: Bool,
        idempotencyKey: String?
    ) {
        self.publication = publication
        self.excluded = excluded
        self.waitsForKernel = waitsForKernel
        self.idempotencyKey = idempotencyKey
    }
}
