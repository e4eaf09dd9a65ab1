import NIOCore
import SidecarCore

/// Protects what the engine keeps with `CLUSTER_SECRET`.
struct BanSeal {
    /// Seals bytes; the context says what they are about, and has to be the same when they are opened.
    let seal: (_ bytes: ByteBuffer, _ context: String) -> ByteBuffer
    /// Opens what was sealed; nil unless it was sealed with a known secret and this context.
    let open: (_ bytes: ByteBuffer, _ context: String) -> ByteBuffer?

    /// Without a secret.
    static var none: BanSeal { BanSeal(seal: { bytes, _ in bytes }, open: { bytes, _ in bytes }) }
}

/// Why a ban of the engine is ignored.
enum BanFault: Error, Equatable {
    case malformed
    /// Whoever wrote it does not have the secret.
    case notSealed
    /// The end that scripts read is not the sealed one.
    case otherEnd

    var sentence: String {
        switch self {
        case .malformed: "It cannot be read."
        case .notSealed: "It was not made with CLUSTER_SECRET."
        case .otherEnd: "Its end was changed without CLUSTER_SECRET."
        }
    }
}

/// A ban as the engine keeps it: `1 UNTIL SEALED`, where `UNTIL EXPIRY REASON` is sealed.
struct StoredBan: Equatable {
    let subject: BanSubject
    /// Its end, in milliseconds since 1970 by the engine's clock.
    let until: Int64
    /// Its end for people.
    let expiresAt: Int64
    let reason: String
    /// The whole value.
    let value: ByteBuffer

    /// The end of the year 9999, in milliseconds since 1970.
    private static let latest: Int64 = 253_402_300_799_999
    /// The longest that a ban may last, ten years, in milliseconds.
    private static let longest: Int64 = 315_360_000_000
    /// The longest value, in bytes.
    private static let mostBytes = 4_096

    /// A ban of this node.
    ///
    /// - Parameter now: By the engine's clock.
    init(_ ban: ClusterBan, now: Int64, _ seal: BanSeal) {
        subject = ban.subject
        let rest = min(max(0, ban.rest.nanoseconds), Self.longest * 1_000_000)
        until = min(max(0, now), Self.latest - Self.longest) + (rest + 999_999) / 1_000_000
        expiresAt = min(max(0, ban.expiresAt), Self.latest)
        reason = String(ban.reason.prefix(maxBytes: BanTerms.maxReasonBytes))
        let sealed = seal.seal(ByteBuffer(string: "\(until) \(expiresAt) \(reason)"), Self.field(subject))
        var value = ByteBuffer(string: "1 \(until) ")
        value.writeImmutableBuffer(sealed)
        self.value = value
    }

    /// Reads a ban of the engine.
    ///
    /// - Parameter field: Its subject, as ``field(_:)`` writes it.
    init(field: String, value: ByteBuffer, _ seal: BanSeal) throws(BanFault) {
        guard value.readableBytes <= Self.mostBytes, let subject = Self.subject(field) else { throw .malformed }
        let bytes = value.readableBytesView
        let head = bytes.split(separator: UInt8(ascii: " "), maxSplits: 2, omittingEmptySubsequences: false)
        guard head.count == 3, head[0].elementsEqual("1".utf8), let readable = Self.time(head[1]) else {
            throw .malformed
        }
        guard let opened = seal.open(ByteBuffer(head[2]), field) else { throw .notSealed }
        let parts = opened.readableBytesView.split(
            separator: UInt8(ascii: " "),
            maxSplits: 2,
            omittingEmptySubsequences: false
        )
        guard parts.count == 3, let until = Self.time(parts[0]), let expiresAt = Self.time(parts[1]) else {
            throw .malformed
        }
        guard until == readable else { throw .otherEnd }
        self.subject = subject
        self.until = until
        self.expiresAt = expiresAt
        reason = String(String(decoding: parts[2], as: UTF8.self).prefix(maxBytes: BanTerms.maxReasonBytes))
        // A slice would keep everything alive that came with it.
        self.value = ByteBuffer(bytes: bytes)
    }

    /// A time from 0 to the end of the year 9999, as it is written and not otherwise.
    private static func time(_ digits: ByteBufferView) -> Int64? {
        let text = String(decoding: digits, as: UTF8.self)
        guard let time = Int64(text), (0...latest).contains(time), String(time) == text else { return nil }
        return time
    }

    /// `ip ADDRESS`, `ip NETWORK` or `user NAME`.
    static func field(_ subject: BanSubject) -> String { "\(subject.kind) \(subject.value)" }

    /// Nil unless ``field(_:)`` writes it just so.
    private static func subject(_ field: String) -> BanSubject? {
        let parts = field.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        let subject: BanSubject?
        switch parts[0] {
        case "ip": subject = (try? IPNetwork(parsing: parts[1])).map { .network($0) }
        case "user":
            let isName = (1...UserName.maxBytes).contains(parts[1].utf8.count)
            subject = isName ? .user(UserName(String(parts[1]))) : nil
        default: subject = nil
        }
        return subject.flatMap { Self.field($0).utf8.elementsEqual(field.utf8) ? $0 : nil }
    }

    /// What others are told of it.
    ///
    /// - Parameter now: By the engine's clock.
    func ban(now: Int64) -> ClusterBan {
        let rest = min(max(0, until - max(0, now)), Self.longest)
        return ClusterBan(subject: subject, rest: .milliseconds(rest), expiresAt: expiresAt, reason: reason)
    }
}
