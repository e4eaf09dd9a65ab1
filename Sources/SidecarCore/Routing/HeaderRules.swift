import HTTP1

/// Which header fields are passed on, and which only Sidesocket may write.
///
/// There are three audiences: the app as receiver of an event (strict: nobody can forge one), the app behind
/// pass-through (transparent, except for forwarding fields), and the client that receives the app's reply.
public enum HeaderRules {
    /// Fields that concern one hop only (RFC 9110 §7.6.1); never forwarded.
    static func isHopByHop(_ name: UnsafeRawBufferPointer) -> Bool {
        switch name.count {
        case 2: return HTTPField.equals(name, "te")
        case 7: return HTTPField.equals(name, "upgrade")
        case 10: return HTTPField.equals(name, "connection") || HTTPField.equals(name, "keep-alive")
        case 16: return HTTPField.equals(name, "proxy-connection")
        case 17: return HTTPField.equals(name, "transfer-encoding")
        case 18: return HTTPField.equals(name, "proxy-authenticate")
        case 19: return HTTPField.equals(name, "proxy-authorization")
        default: return false
        }
    }

    /// Fields in which a proxy names the client; replaced by ours.
    static func isForwarding(_ name: UnsafeRawBufferPointer) -> Bool {
        HTTPField.hasPrefix(name, "x-forwarded-") || HTTPField.equals(name, "forwarded")
            || HTTPField.equals(name, "x-real-ip") || HTTPField.equals(name, "cf-connecting-ip")
            || HTTPField.equals(name, "true-client-ip")
    }

    /// Fields that only Sidesocket may set in an event.
    static func isReservedInEvents(_ name: UnsafeRawBufferPointer) -> Bool {
        switch (name.first ?? 0) | 0x20 {
        case UInt8(ascii: "c"), UInt8(ascii: "f"), UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "w"),
            UInt8(ascii: "x"):
            return HTTPField.hasPrefix(name, "ce-") || HTTPField.hasPrefix(name, "webhook-") || isSidesocket(name)
                || isForwarding(name)
        default:
            return false  // none of them begins like that
        }
    }

    /// Fields of a handshake that may be sent with every event, if the operator wants it.
    static func mayBeRepeated(_ name: UnsafeRawBufferPointer) -> Bool {
        !isReservedInEvents(name) && !isHopByHop(name)
    }

    /// `sidesocket-*`, which is never passed on from a client.
    static func isSidesocket(_ name: UnsafeRawBufferPointer) -> Bool {
        HTTPField.hasPrefix(name, "sidesocket-")
    }

    /// Fields of the WebSocket handshake that concern only the client and us (RFC 6455 §4.1).
    static func isHandshakeOnly(_ name: UnsafeRawBufferPointer) -> Bool {
        guard HTTPField.hasPrefix(name, "sec-websocket-") else { return false }
        return !HTTPField.equals(name, "sec-websocket-protocol")
    }

    /// Fields that describe a body; an event has its own, and a 101 has none.
    ///
    /// `Content-Security-Policy` has such a name but does not describe the body.
    static func describesBody(_ name: UnsafeRawBufferPointer) -> Bool {
        HTTPField.hasPrefix(name, "content-") && !HTTPField.hasPrefix(name, "content-security-policy")
    }

    /// A name that an app could take for one of ours, or for one that frames the message: `Ce_Type`, `Ce.Type`,
    /// `X~Forwarded~For`, `Transfer_Encoding`.
    ///
    /// CGI-style apps read headers from variables (RFC 3875 §4.1.18). They turn `-` into `_`, PHP's own server `.` too,
    /// and lighttpd every byte that is no letter or digit. So every such byte counts as `-` here. A name of letters,
    /// digits and `-` alone imitates nothing.
    static func imitatesReserved(_ name: UnsafeRawBufferPointer) -> Bool {
        guard !name.allSatisfy(isPlain) else { return false }
        return withFolded(name) { isReservedInEvents($0) || framesOrAddresses($0) }
    }

    /// Calls `body` with the name as the most lenient app reads it: with every byte other than letters and digits as
    /// `-`.
    ///
    /// Only the first 32 bytes are given: a longer name can only match by its prefix.
    static func withFolded<Result>(
        _ name: UnsafeRawBufferPointer,
        _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        withUnsafeTemporaryAllocation(byteCount: min(name.count, 32), alignment: 1) { dashed in
            for index in dashed.indices {
                dashed[index] = isPlain(name[index]) ? name[index] : UInt8(ascii: "-")
            }
            return body(UnsafeRawBufferPointer(dashed))
        }
    }

    private static func isPlain(_ byte: UInt8) -> Bool {
        HTTPField.isLetter(byte) || HTTPField.isDigit(byte) || byte == UInt8(ascii: "-")
    }

    /// Fields that frame a message, describe it or name its target. `Host`, `Cookie` and other names of one word have
    /// no byte that could be folded, so nothing can imitate them. From a proxy on its own machine gunicorn takes
    /// `Script_Name` and `Path_Info`, which move the path.
    private static func framesOrAddresses(_ name: UnsafeRawBufferPointer) -> Bool {
        HTTPField.equals(name, "content-length") || HTTPField.equals(name, "content-type")
            || HTTPField.equals(name, "content-encoding") || HTTPField.equals(name, "transfer-encoding")
            || HTTPField.equals(name, "script-name") || HTTPField.equals(name, "path-info")
    }

    /// How many names of `Connection` are read; a request with more is refused.
    static let mostNamed = 64

    /// The names that a message's own `Connection` field declares hop-by-hop.
    ///
    /// Fields that we write ourselves, and those that frame or address the message, cannot be removed that way.
    static func namedByConnection(_ headers: HTTPHeaders) -> [String] {
        var names: [String] = []
        headers.forEach { field, value in
            guard HTTPField.equals(field, "connection") else { return }
            var next = 0
            for _ in 0..<mostNamed where next < value.count {
                var start = next
                var end = next
                while end < value.count, value[end] != UInt8(ascii: ",") { end += 1 }
                next = end + 1
                while start < end, HTTPField.isSpace(value[start]) { start += 1 }
                while end > start, HTTPField.isSpace(value[end - 1]) { end -= 1 }
                let name = UnsafeRawBufferPointer(rebasing: value[start..<end])
                if !name.isEmpty, !isNeverNamed(name) {
                    names.append(String(decoding: name, as: UTF8.self).lowercased())
                }
            }
        }
        return names
    }

    private static func isNeverNamed(_ name: UnsafeRawBufferPointer) -> Bool {
        HTTPField.equals(name, "upgrade") || HTTPField.equals(name, "keep-alive") || HTTPField.equals(name, "close")
            || HTTPField.equals(name, "host") || HTTPField.equals(name, "content-length")
    }
}
