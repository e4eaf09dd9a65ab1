import HTTP1
import NIOCore
import SidecarCore

/// Heads for tests are read by the readers that read them in life, so that nothing is tested that cannot arrive.
enum Heads {
    /// The head of a request; the blank line at its end is added.
    static func request(_ lines: String...) throws -> HTTPRequestHead {
        try request(lines: lines)
    }

    static func request(lines: [String]) throws -> HTTPRequestHead {
        var reader = HTTPRequestReader(limits: HTTPLimits())
        var buffer = ByteBuffer(string: lines.map { $0 + "\r\n" }.joined() + "\r\n")
        reader.append(&buffer)
        guard case .head(let head)? = try reader.next() else {
            throw NoHead(lines: lines)
        }
        return head
    }

    /// The final head of a reply; the blank line at its end is added.
    static func reply(_ lines: String..., to method: HTTPMethodKind = .other) throws -> HTTPReplyHead {
        try reply(lines: lines, to: method)
    }

    static func reply(lines: [String], to method: HTTPMethodKind = .other) throws -> HTTPReplyHead {
        var reader = HTTPReplyReader(limits: HTTPLimits())
        reader.expectReply(to: method)
        var buffer = ByteBuffer(string: lines.map { $0 + "\r\n" }.joined() + "\r\n")
        reader.append(&buffer)
        switch try reader.next() {
        case .head(let head)?, .informational(let head)?: return head
        default: throw NoHead(lines: lines)
        }
    }

    struct NoHead: Error {
        let lines: [String]
    }

    /// The lines of a written head and what follows its blank line.
    static func lines(_ buffer: ByteBuffer) -> [String] {
        String(buffer: buffer).split(separator: "\r\n", omittingEmptySubsequences: false).map(String.init)
    }
}
