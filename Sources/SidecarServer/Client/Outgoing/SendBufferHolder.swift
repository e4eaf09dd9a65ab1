/// A connection for which bytes may wait because its client does not read them.
protocol SendBufferHolder: AnyObject {
    /// The waiting bytes.
    var unsentBytes: Int { get }
    /// Records the waiting bytes.
    func accountUnsent(_ bytes: Int)
    /// The total is exceeded and this connection holds more than its share: it is treated as slow.
    func shed(beyond share: Int)
}
