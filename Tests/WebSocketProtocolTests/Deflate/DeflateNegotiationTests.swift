import Testing

@testable import WebSocketProtocol

@Suite struct DeflateNegotiationTests {
    static func answer(_ offers: [String], keepsContext: Bool = false, clientWindowBits: Int = 15) -> String? {
        let settings = DeflateSettings(allowContextTakeover: keepsContext, clientWindowBits: clientWindowBits)
        return NegotiatedDeflate(offers: offers, settings: settings)?.fieldValue
    }

    static let stateless = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

    @Test(
        "Without context takeover both sides start anew with each message",
        arguments: [
            ("permessage-deflate", ""), ("permessage-deflate; client_max_window_bits", ""),
            ("permessage-deflate;client_max_window_bits=8", ""), ("permessage-deflate; client_max_window_bits=15", ""),
            ("permessage-deflate; server_no_context_takeover", ""),
            ("permessage-deflate; client_no_context_takeover", ""),
            ("permessage-deflate; server_max_window_bits=9", "; server_max_window_bits=9"),
            ("permessage-deflate; server_max_window_bits=15", "; server_max_window_bits=15"),
            ("permessage-deflate; server_max_window_bits=\"10\"", "; server_max_window_bits=10"),
            ("permessage-deflate; server_max_window_bits=\"1\\2\"", "; server_max_window_bits=12"),
            ("\tpermessage-deflate ;\tserver_max_window_bits = 11 ", "; server_max_window_bits=11"),
            (",, permessage-deflate,", ""),
        ]
    )
    func stateless(offer: String, more: String) {
        #expect(Self.answer([offer]) == Self.stateless + more)
    }

    @Test(
        "With context takeover the answer says what was offered and no more",
        arguments: [
            ("permessage-deflate", ""), ("permessage-deflate; client_max_window_bits", ""),
            ("permessage-deflate; client_max_window_bits=10", ""),
            ("permessage-deflate; server_no_context_takeover", "; server_no_context_takeover"),
            ("permessage-deflate; client_no_context_takeover", "; client_no_context_takeover"),
            ("permessage-deflate; server_max_window_bits=12", "; server_max_window_bits=12"),
        ]
    )
    func keepingContext(offer: String, more: String) {
        #expect(Self.answer([offer], keepsContext: true) == "permessage-deflate" + more)
    }

    @Test("A client that offers it is asked for the window that is wanted")
    func clientWindow() {
        func deflate(_ parameters: String, _ bits: Int = 11) -> NegotiatedDeflate {
            .accepting(
                "permessage-deflate" + parameters,
                DeflateSettings(allowContextTakeover: true, clientWindowBits: bits)
            )
        }
        #expect(deflate("; client_max_window_bits").fieldValue == "permessage-deflate; client_max_window_bits=11")
        #expect(deflate("; client_max_window_bits").clientWindowBits == 11)
        #expect(deflate("; client_max_window_bits=15").clientMaxWindowBits == 11)
        #expect(deflate("; client_max_window_bits=11").clientMaxWindowBits == nil)
        #expect(deflate("; client_max_window_bits=10").clientWindowBits == 10)
        #expect(deflate("; client_max_window_bits=8").clientWindowBits == 9)
        #expect(deflate("; client_max_window_bits; client_no_context_takeover").clientMaxWindowBits == nil)
        #expect(deflate("").clientMaxWindowBits == nil)
        #expect(deflate("").clientWindowBits == 15)
        #expect(deflate("; client_max_window_bits", 3).clientMaxWindowBits == 9)
        #expect(deflate("; client_max_window_bits", 99).clientMaxWindowBits == nil)
    }

    static let declined: [String] = [
        "", " ", ",", ";", "=", "\"", "permessage-deflat", "permessage-deflate2", "x-webkit-deflate-frame",
        "PERMESSAGE-DEFLATE", "permessage-deflate;", "permessage-deflate; ;", "permessage-deflate; =8",
        "permessage-deflate; unknown", "permessage-deflate; unknown=1", "permessage-deflate foo",
        "permessage-deflate; server_max_window_bits", "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_max_window_bits=7", "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=16", "permessage-deflate; server_max_window_bits=abc",
        "permessage-deflate; server_max_window_bits=010", "permessage-deflate; server_max_window_bits=+9",
        "permessage-deflate; server_max_window_bits=-9", "permessage-deflate; server_max_window_bits=9.",
        "permessage-deflate; server_max_window_bits=1e1", "permessage-deflate; server_max_window_bits=100",
        "permessage-deflate; server_max_window_bits=18446744073709551625",
        "permessage-deflate; server_max_window_bits=\"\"", "permessage-deflate; server_max_window_bits=\"10",
        "permessage-deflate; server_max_window_bits=\"10\"0", "permessage-deflate; server_max_window_bits=\" 10\"",
        "permessage-deflate; server_max_window_bits=\"10\\", "permessage-deflate; server_max_window_bits='10'",
        "permessage-deflate; server_max_window_bits=\u{0661}", "permessage-deflate; server_max_window_bits=10 11",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=7", "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=abc", "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; client_max_window_bits=0", "permessage-deflate; client_max_window_bits=08",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
        "permessage-deflate; client_no_context_takeover=true", "permessage-deflate; client_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=\"\"", "permessage-deflate; server_no_context_takeover=x",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; Server_No_Context_Takeover", "permessage-deflate\0", "permessage-deflate; \u{FF}",
        "foo; a=\"permessage-deflate\"", "foo; a=\", permessage-deflate, \"", "foo; a=\", permessage-deflate",
        "foo; a=\"b c, permessage-deflate , d\"", "foo; a=\"\\\", permessage-deflate , d\"",
    ]

    @Test("An offer that can't be kept is declined", arguments: declined)
    func declines(offer: String) {
        for keepsContext in [false, true] {
            #expect(Self.answer([offer], keepsContext: keepsContext) == nil)
        }
    }

    @Test("After a declined offer the next is tried, in the same field or another", arguments: declined)
    func next(offer: String) {
        let good = "permessage-deflate; server_max_window_bits=10"
        let answer = Self.stateless + "; server_max_window_bits=10"
        #expect(Self.answer([offer, good]) == answer)
        #expect(Self.answer([good, offer]) == answer)
        #expect(Self.answer([good + ", " + offer]) == answer)
        // Quotes that never close take what is behind them in their field.
        let quotes = offer.utf8.count { $0 == UInt8(ascii: "\"") }
        if quotes % 2 == 0 { #expect(Self.answer([offer + ", " + good]) == answer) }
    }

    @Test("The first acceptable offer wins")
    func order() {
        #expect(
            Self.answer(["permessage-deflate; server_max_window_bits=11, permessage-deflate"])
                == Self.stateless + "; server_max_window_bits=11"
        )
        #expect(
            Self.answer(["x; y=\"z, w\", permessage-deflate", "permessage-deflate; server_max_window_bits=11"])
                == Self.stateless
        )
        #expect(Self.answer([]) == nil)
    }

    @Test(
        "30 KB of anything take linear time",
        arguments: [
            " ", "\"", "\\", ",", ";", "=", "\",", "\"\\", ";\"", "a;", "a,", "a=\"", "; a", "; a=1", "; a=\"b\"",
            ", permessage-deflate; x", "permessage-deflate", "\"\\\",", "a=\"b,c\", ",
        ]
    )
    func linear(filler: String) {
        let clock = ContinuousClock()
        func seconds(_ length: Int) -> Duration {
            let junk = String(repeating: filler, count: length / filler.utf8.count)
            return clock.measure {
                for value in [junk, "permessage-deflate; " + junk, "\"" + junk, "foo; a=\"" + junk] {
                    _ = Self.answer([value])
                    _ = Self.answer([value + "y"])
                }
            }
        }
        // Quadratic time would take minutes for the second.
        #expect(seconds(30_000) < .seconds(2))
        #expect(seconds(150_000) < .seconds(10))
    }

    @Test("The handshake carries what was agreed, and declines all without settings")
    func handshake() throws {
        var request = HandshakeTests.sample
        #expect(try Handshake.validate(request, deflate: DeflateSettings()).deflate == nil)
        request.extensions = ["permessage-deflate; client_max_window_bits"]
        #expect(try Handshake.validate(request).deflate == nil)
        let accepted = try Handshake.validate(request, deflate: DeflateSettings())
        #expect(accepted.deflate?.fieldValue == Self.stateless)
        // What Firefox, Chrome and Safari send.
        request.extensions = ["permessage-deflate"]
        #expect(try Handshake.validate(request, deflate: DeflateSettings()).deflate != nil)
        request.extensions = ["permessage-deflate; server_max_window_bits=7"]
        #expect(try Handshake.validate(request, deflate: DeflateSettings()).deflate == nil)
    }
}
