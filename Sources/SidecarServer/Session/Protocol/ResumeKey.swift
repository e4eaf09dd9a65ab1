import Crypto
import HTTP1
import SidecarCore

/// What has to be the same when a client resumes its session, as its handshake says it.
struct ResumeTerms: Sendable, Equatable {
    let encoding: ProtocolEncoding
    let origin: String?
    /// Without the query, which may hold a token.
    let path: String
    /// A hash of the cookies that `RESUME_COOKIES` names; nil where it names none.
    private let cookies: [UInt8]?

    init(_ head: HTTPRequestHead, _ encoding: ProtocolEncoding, cookies names: [String]) {
        self.encoding = encoding
        origin = head.headers.first("origin")
        path = String(head.target.prefix { $0 != "?" })
        cookies = names.isEmpty ? nil : Self.hash(of: names, in: head.headers)
    }

    // MARK: Record

    private enum Tag {
        static let encoding: UInt8 = 1
        static let origin: UInt8 = 2
        static let path: UInt8 = 3
        static let cookies: UInt8 = 4
    }

    /// For another node.
    var record: [UInt8] {
        var writer = JournalWriter()
        writer.write(Tag.encoding, text: encoding.rawValue)
        if let origin { writer.write(Tag.origin, text: origin) }
        writer.write(Tag.path, text: path)
        if let cookies { writer.write(Tag.cookies, cookies) }
        return writer.record
    }

    init(record: [UInt8]) throws(JournalFault) {
        var reader = try JournalReader(record)
        guard let encoding = ProtocolEncoding(rawValue: try reader.text(Tag.encoding)) else { throw .malformed }
        self.encoding = encoding
        origin = try reader.takeText(Tag.origin)
        path = try reader.text(Tag.path)
        cookies = try reader.take(Tag.cookies).map(Array.init)
    }

    private static func hash(of names: [String], in headers: HTTPHeaders) -> [UInt8] {
        let fields: [Substring] = headers.values(of: "cookie").flatMap { $0.split(separator: ";") }
        let pairs = fields.map { $0.drop { $0 == " " } }
        var hash = SHA256()
        for name in names {
            for pair in pairs where pair.hasPrefix("\(name)=") {
                hash.update(data: Array("\(pair);".utf8))
            }
            hash.update(data: [0])
        }
        return Array(hash.finalize())
    }
}

/// The tokens with which a session can be resumed.
///
/// Each `$welcome` has a new one. The one that the client used stays valid until the client sends something, since
/// the `$welcome` may not have reached it.
struct ResumeKeys: Sendable {
    private(set) var hashes: [ResumeToken.Hash] = []

    init(_ hashes: [ResumeToken.Hash] = []) {
        self.hashes = hashes
    }

    var isEmpty: Bool { hashes.isEmpty }

    /// A new token.
    ///
    /// - Parameters:
    ///   - used: The one that the client has shown.
    ///   - node: Where it is made; nil without a cluster.
    /// - Returns: The token, and those that are no longer valid.
    mutating func rotate(used: ResumeToken.Hash?, by node: NodeID?) -> (token: ResumeToken, dropped: [ResumeToken.Hash])
    {
        var generator = SystemRandomNumberGenerator()
        let token = ResumeToken.make(by: node) { generator.next() }
        let dropped = hashes.filter { $0 != used }
        hashes = hashes.filter { $0 == used } + [token.hash]
        return (token, dropped)
    }

    /// The client has got the newest token; returns those that are no longer valid.
    mutating func confirm() -> [ResumeToken.Hash] {
        guard hashes.count > 1, let newest = hashes.last else { return [] }
        let dropped = hashes.dropLast()
        hashes = [newest]
        return Array(dropped)
    }

    /// The session is over; returns all of them.
    mutating func removeAll() -> [ResumeToken.Hash] {
        defer { hashes = [] }
        return hashes
    }
}
