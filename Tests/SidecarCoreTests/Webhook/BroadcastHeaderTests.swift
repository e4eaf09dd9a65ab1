import HTTP1
import NIOCore
import Testing

@testable import SidecarCore

@Suite("Sidesocket-Broadcast")
struct BroadcastHeaderTests {
    private func read(_ value: String) throws -> String {
        let head = try Heads.reply("HTTP/1.1 200 OK", "Content-Length: 0", "sidesocket-BROADCAST: \(value)")
        let fields = BroadcastHeader.all(in: head.headers)
        guard fields.count == 1, let field = fields.first else { return "\(fields.count) fields" }
        switch field {
        case .success(let header):
            return "\(header.publication.channel): \(String(buffer: header.publication.payload))"
        case .failure(let fault): return "\(fault)"
        }
    }

    @Test("The channel is the first word, in quotes or not; the rest is the text")
    func forms() throws {
        #expect(try read(#"orders {"id":7}"#) == #"orders: {"id":7}"#)
        #expect(try read(#""room:1" two  words"#) == "room:1: two  words")
        #expect(try read(#""a;b" x"#) == "a;b: x")
        #expect(try read("orders  x") == "orders:  x")
        #expect(try read("orders grüße") == "orders: grüße")
        #expect(try read("orders 100%25 %zz") == "orders: 100%25 %zz")
    }

    @Test("A text behind ;enc=percent is decoded")
    func percent() throws {
        #expect(try read("orders;enc=percent gr%C3%BC%c3%9Fe%0A100%25 %zz%") == "orders: grüße\n100% %zz%")
        #expect(try read(#""a;b";enc=percent %41"#) == "a;b: A")
        #expect(try read(#""a;enc=percent" %41"#) == "a;enc=percent: %41")
        #expect(try read("orders;enc=percent %FF") == "malformed")
    }

    @Test(
        "What is no channel and text is not published",
        arguments: [
            "orders", "\"orders\"", "\"a,b\" x", "a,b x", "\"a x", "\"\" x", "\"a\"x", "\"a\";x y", ";enc=percent x",
            "é x", "a;b x", "orders; enc=percent x", "orders;ENC=percent x", "orders;enc=percent%20 x",
        ]
    )
    func malformed(value: String) throws {
        #expect(try read(value) == "malformed")
    }

    @Test("Length has a limit, tried at and above it; bytes that are no UTF-8 are malformed")
    func limits() throws {
        #expect(
            try read("a " + String(repeating: "x", count: BroadcastHeader.maxBytes - 2)).utf8.count == BroadcastHeader
                .maxBytes + 1
        )
        #expect(try read("a " + String(repeating: "x", count: BroadcastHeader.maxBytes - 1)) == "tooLong")
        let bytes: [UInt8] = [0x61, 0x20, 0xFF]
        let fault = bytes.withUnsafeBytes { bytes -> BroadcastHeader.Fault? in
            do throws(BroadcastHeader.Fault) {
                _ = try BroadcastHeader(bytes)
                return nil
            } catch {
                return error
            }
        }
        #expect(fault == .malformed)
    }
}
