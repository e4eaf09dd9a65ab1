/// What client and server agreed on for permessage-deflate (RFC 7692 §7.1).
public struct NegotiatedDeflate: Sendable, Equatable {
    /// True when our messages don't lean on one another.
    public let serverNoContextTakeover: Bool
    /// True when the client's messages don't lean on one another.
    public let clientNoContextTakeover: Bool
    /// The base-2 logarithm of the largest window that we may use, 9...15; nil when the client set no bound.
    public let serverMaxWindowBits: Int?
    /// The base-2 logarithm of the window that the answer binds the client to, 9...15; nil when it binds it to none.
    public let clientMaxWindowBits: Int?
    /// The base-2 logarithm of the window that it takes to read the client, 9...15.
    let clientWindowBits: Int

    /// Accepts the first offer that can be kept, or returns nil when there is none.
    ///
    /// It takes time linear in the length of the fields. An offer is declined, and the next one tried, when it is
    /// malformed or for another extension, when it has a parameter that RFC 7692 does not know, has one twice or with
    /// a value that it must not have, or when it holds us to a window of 256 bytes, which zlib can't keep to.
    ///
    /// - Parameters:
    ///   - offers: the values of all `Sec-WebSocket-Extensions` fields in the order they came.
    ///   - settings: what this server wants.
    public init?(offers: [String], settings: DeflateSettings) {
        for field in offers {
            var elements = ExtensionOffers(field)
            while let element = elements.next() {
                if let offer = DeflateOffer(element), let accepted = NegotiatedDeflate(offer, settings) {
                    self = accepted
                    return
                }
            }
        }
        return nil
    }

    private init?(_ offer: DeflateOffer, _ settings: DeflateSettings) {
        if let bits = offer.serverMaxWindowBits, bits < 9 { return nil }
        self.serverMaxWindowBits = offer.serverMaxWindowBits
        self.serverNoContextTakeover = offer.serverNoContextTakeover || !settings.allowContextTakeover
        self.clientNoContextTakeover = offer.clientNoContextTakeover || !settings.allowContextTakeover
        // A number is the client's own bound, which holds without an answer (§7.1.2.2). zlib writes 9 where it means 8.
        let offered = max(offer.clientMaxWindowBits.flatMap(\.self) ?? 15, 9)
        let wanted = settings.clientWindowBits
        if offer.clientMaxWindowBits != nil, !self.clientNoContextTakeover, wanted < offered {
            self.clientMaxWindowBits = wanted
            self.clientWindowBits = wanted
        } else {
            self.clientMaxWindowBits = nil
            self.clientWindowBits = offered
        }
    }

    /// The value of `Sec-WebSocket-Extensions` in the 101 answer.
    public var fieldValue: String {
        var value = "permessage-deflate"
        if self.serverNoContextTakeover { value += "; server_no_context_takeover" }
        if self.clientNoContextTakeover { value += "; client_no_context_takeover" }
        if let bits = self.serverMaxWindowBits { value += "; server_max_window_bits=\(bits)" }
        if let bits = self.clientMaxWindowBits { value += "; client_max_window_bits=\(bits)" }
        return value
    }
}

/// One well-formed offer of permessage-deflate.
private struct DeflateOffer {
    var serverNoContextTakeover = false
    var clientNoContextTakeover = false
    /// 8...15
    var serverMaxWindowBits: Int?
    /// 8...15, or nothing in it when the client left the number to us.
    var clientMaxWindowBits: Int??

    init?(_ element: ExtensionOffers.Offer) {
        guard case .wellFormed(let name, let parameters) = element,
            name.elementsEqual("permessage-deflate".utf8)
        else {
            return nil
        }
        for (name, value) in parameters {
            guard self.take(name, value) else { return nil }
        }
    }

    /// Records a parameter; false when it makes the offer unacceptable.
    private mutating func take(_ name: ArraySlice<UInt8>, _ value: ExtensionOffers.Value) -> Bool {
        if name.elementsEqual("server_no_context_takeover".utf8) {
            guard value == .none, !self.serverNoContextTakeover else { return false }
            self.serverNoContextTakeover = true
        } else if name.elementsEqual("client_no_context_takeover".utf8) {
            guard value == .none, !self.clientNoContextTakeover else { return false }
            self.clientNoContextTakeover = true
        } else if name.elementsEqual("server_max_window_bits".utf8) {
            guard case .number(let bits) = value, 8...15 ~= bits, self.serverMaxWindowBits == nil else { return false }
            self.serverMaxWindowBits = bits
        } else if name.elementsEqual("client_max_window_bits".utf8) {
            guard self.clientMaxWindowBits == nil else { return false }
            switch value {
            case .none: self.clientMaxWindowBits = .some(nil)
            case .number(let bits) where 8...15 ~= bits: self.clientMaxWindowBits = bits
            case .number, .other: return false
            }
        } else {
            return false
        }
        return true
    }
}
