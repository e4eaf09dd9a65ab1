import NIOCore
import Testing

@testable import SidecarCore

@Suite("JSON strings")
struct JSONTextTests {
    private func json(_ text: String, _ escapes: JSONEscapes = []) -> String {
        var buffer = ByteBuffer()
        buffer.writeJSONString(text, escapes)
        return String(buffer: buffer)
    }

    private func escaped(_ text: String, _ escapes: JSONEscapes) -> String {
        var buffer = ByteBuffer()
        buffer.writeEscaped(text[...], escapes)
        return String(buffer: buffer)
    }

    /// What stands for a scalar, said in another way than by the writer.
    private func escape(_ scalar: Unicode.Scalar, isUnsafe: Bool) -> String {
        let hex = String(scalar.value, radix: 16)
        switch scalar {
        case "\"", "\\": return "\\\(scalar)"
        case _ where isUnsafe: return "\\u" + String(repeating: "0", count: max(4 - hex.utf8.count, 0)) + hex
        default: return String(scalar)
        }
    }

    @Test("Quotes, backslashes, controls and DEL are escaped, and nothing else")
    func required() {
        #expect(json("") == "\"\"")
        #expect(json("plain text, é 水 😀 e\u{301}") == "\"plain text, é 水 😀 e\u{301}\"")
        #expect(json(#"say "a\b""#) == #""say \"a\\b\"""#)
        #expect(json("\n\r\t\u{8}\u{0}\u{1F}\u{7F}") == #""\u000a\u000d\u0009\u0008\u0000\u001f\u007f""#)
        #expect(json("\u{80}\u{202E}\u{FEFF}/") == "\"\u{80}\u{202E}\u{FEFF}/\"")
    }

    @Test("Each scalar of the first plane is escaped, or stands as it is, wherever in a text it stands")
    func everyScalar() {
        for value in UInt32(0)...0xFFFF {
            guard let scalar = Unicode.Scalar(value) else { continue }
            // The second stands within the eight bytes that are looked at together, the last behind them.
            let text = "\(scalar)abcd\(scalar)efghijklmnopqrst\(scalar)"
            let isControl = value < 0x20 || value == 0x7F
            let plain = escape(scalar, isUnsafe: isControl)
            let safe = escape(scalar, isUnsafe: UnsafeText.mustEscape(scalar))
            guard json(text).utf8.elementsEqual("\"\(plain)abcd\(plain)efghijklmnopqrst\(plain)\"".utf8),
                json(text, .unsafeText).utf8.elementsEqual("\"\(safe)abcd\(safe)efghijklmnopqrst\(safe)\"".utf8)
            else {
                Issue.record("U+\(String(value, radix: 16))")
                continue
            }
        }
    }

    @Test("An escape is found at every index of texts of every length")
    func everyPlace() {
        for count in 1...40 {
            for index in 0..<count {
                for mark in ["\"", "\\", "\u{1}", "\u{7F}"] as [Unicode.Scalar] {
                    var text = Array(repeating: "!" as Unicode.Scalar, count: count)
                    text[index] = mark
                    var expected = Array(repeating: "!", count: count)
                    expected[index] = escape(mark, isUnsafe: true)
                    let input = String(String.UnicodeScalarView(text))
                    #expect(json(input) == "\"" + expected.joined() + "\"")
                }
            }
        }
    }

    @Test("Text that is unsafe to show is escaped when that is asked for")
    func unsafeText() {
        let text = "a\u{9B}b\u{61C}c\u{200E}d\u{2028}e\u{202E}f\u{2066}g\u{FEFF}h"
        #expect(json(text, .unsafeText) == #""a\u009bb\u061cc\u200ed\u2028e\u202ef\u2066g\ufeffh""#)
        #expect(json("\u{A0}é\u{200D}—\u{10FFFF}😀e\u{301}", .unsafeText) == "\"\u{A0}é\u{200D}—\u{10FFFF}😀e\u{301}\"")
    }

    @Test("Line ends have short forms and quotes may stay, as log lines have them")
    func logLines() {
        let text = "\"a\"\n\r\t\\ \u{8}\u{7F}\u{202E}"
        #expect(escaped(text, .shortForms) == #"\"a\"\n\r\t\\ \u0008\u007f"# + "\u{202E}")
        #expect(escaped(text, [.unsafeText, .shortForms]) == #"\"a\"\n\r\t\\ \u0008\u007f\u202e"#)
        #expect(escaped(text, [.unsafeText, .shortForms, .bareQuotes]) == #""a"\n\r\t\\ \u0008\u007f\u202e"#)
        #expect(escaped("\"", .bareQuotes) == "\"" && escaped("", .bareQuotes) == "")
    }

    @Test("What is written stands behind what was there, and is JSON that comes back")
    func behind() {
        var scalars = String.UnicodeScalarView()
        for value in UInt32(0)..<0x3000 {
            if let scalar = Unicode.Scalar(value) { scalars.append(scalar) }
        }
        let text = String(scalars)
        for escapes in [[], .unsafeText, .shortForms, [.unsafeText, .shortForms]] as [JSONEscapes] {
            var buffer = ByteBuffer(string: "x")
            buffer.writeJSONString(text, escapes)
            #expect(buffer.readInteger(as: UInt8.self) == UInt8(ascii: "x"))
            let value = JSONValue(Array(buffer.readableBytesView))
            #expect(value?.string?.utf8.elementsEqual(text.utf8) == true)
        }
        var buffer = ByteBuffer()
        buffer.writeJSONString(ByteBuffer(string: text))
        #expect(buffer == ByteBuffer(string: json(text)))
    }
}
