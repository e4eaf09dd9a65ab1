import NIOCore
import Testing

@testable import SidecarCore

@Suite("Base64")
struct Base64Tests {
    private func encoded(_ bytes: [UInt8]) -> String {
        var buffer = ByteBuffer(string: "> ")
        Base64.write(ByteBuffer(bytes: bytes), into: &buffer)
        return String(buffer.readString(length: buffer.readableBytes)?.dropFirst(2) ?? "")
    }

    @Test(
        "It gives the examples of RFC 4648 and takes them back",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ]
    )
    func examples(text: String, base64: String) {
        #expect(encoded(Array(text.utf8)) == base64)
        #expect(Base64.decoded(base64) == ByteBuffer(string: text))
    }

    @Test("All bytes at all lengths come back")
    func roundTrips() {
        let bytes = Array(UInt8.min...UInt8.max)
        for start in [0, 1, 2] {
            for end in start...bytes.count {
                let part = Array(bytes[start..<end])
                let text = encoded(part)
                #expect(text.utf8.count == (part.count + 2) / 3 * 4)
                #expect(Base64.decoded(text) == ByteBuffer(bytes: part))
            }
        }
        #expect(encoded([0xFB, 0xFF, 0xFE]) == "+//+")
    }

    @Test("Only the readable bytes are written")
    func slices() {
        var bytes = ByteBuffer(string: "xfoox")
        bytes.moveReaderIndex(forwardBy: 1)
        var buffer = ByteBuffer()
        Base64.write(bytes.getSlice(at: 1, length: 3) ?? ByteBuffer(), into: &buffer)
        #expect(String(buffer: buffer) == "Zm9v")
    }

    @Test("The bits that the last digit has to spare may be anything")
    func spareBits() {
        for digit in ["g", "h", "v"] { #expect(Base64.decoded("Z\(digit)==") == ByteBuffer(string: "f")) }
        for digit in ["8", "9", "+", "/"] {
            #expect(Base64.decoded("Zm\(digit)=") == ByteBuffer(string: "fo"))
        }
    }

    @Test(
        "What lacks padding, has too much of it, or anything beside the alphabet is none",
        arguments: [
            "Y", "YQ", "YQ=", "YWI", "YQ===", "=", "==", "===", "====", "Y===", "Y=Q=", "YQ=Q", "=YQ=", "YQ==YQ==",
            "YWJj=", "YWJj==", "YWJj====", "YWJjYQ=Q", "YWJjY===", "YWJj====YWJj", "YQ==\n", "\nYQ==", "YWJj\r\n",
            " YQ==", "Y Q==", "YQ= =", "_-==", "YW.j", "YWJ\u{0}", "é", "éé", "YWé", "YQ=\u{301}", "YQ\u{301}==",
            "\u{FF21}A==",
        ]
    )
    func malformed(text: String) {
        #expect(Base64.decoded(text) == nil)
    }

    @Test("No byte but the 64 digits can stand in a text")
    func alphabet() {
        let digits = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        for byte in UInt8.min..<0x80 {
            let text = String(decoding: [byte, 0x51, 0x51, 0x51], as: UTF8.self)
            #expect((Base64.decoded(text) != nil) == digits.contains(byte), "\(byte)")
        }
    }
}
