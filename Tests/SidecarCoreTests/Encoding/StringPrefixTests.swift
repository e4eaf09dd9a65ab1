import SidecarCore
import Testing

@Suite("The front of a string")
struct StringPrefixTests {
    @Test(
        "It ends before the scalar that does not fit whole",
        arguments: [
            ("", 0, ""), ("", 3, ""), ("abc", 0, ""), ("abc", 2, "ab"), ("abc", 3, "abc"), ("abc", 4, "abc"),
            ("é", 1, ""), ("é", 2, "é"), ("水", 1, ""), ("水", 2, ""), ("水", 3, "水"), ("🜂", 1, ""), ("🜂", 2, ""),
            ("🜂", 3, ""), ("🜂", 4, "🜂"), ("a水b", 3, "a"), ("a水b", 4, "a水"), ("a水b", 5, "a水b"),
            // Of several scalars that make up one character, as many as fit.
            ("e\u{301}\u{302}", 2, "e"), ("e\u{301}\u{302}", 3, "e\u{301}"), ("e\u{301}\u{302}", 4, "e\u{301}"),
            ("e\u{301}\u{302}", 5, "e\u{301}\u{302}"), ("\r\n", 1, "\r"), ("🇩🇪", 4, "🇩"), ("🇩🇪", 7, "🇩"),
        ]
    )
    func scalars(text: String, maxBytes: Int, expected: String) {
        #expect(text.prefix(maxBytes: maxBytes).utf8.elementsEqual(expected.utf8))
    }

    @Test("A limit just below, at and just above a character's end", arguments: ["x", "ß", "水", "🜂"])
    func limits(character: String) {
        let width = character.utf8.count
        for start in 0..<4 {
            let text = String(repeating: "a", count: start) + String(repeating: character, count: 124)
            for limit in [122, 123, 124] {
                let front = text.prefix(maxBytes: limit)
                #expect(front.utf8.count == start + (limit - start) / width * width)
                #expect(text.utf8.starts(with: front.utf8))
                #expect(String(front).unicodeScalars.allSatisfy { $0 != "\u{FFFD}" })
            }
        }
    }

    @Test("Many marks on one letter are cut between them")
    func marks() {
        let text = "a" + String(repeating: "\u{301}", count: 100_000)
        #expect(text.prefix(maxBytes: 123).utf8.count == 123)
        #expect(text.prefix(maxBytes: 124).utf8.count == 123)
        #expect(text.prefix(maxBytes: .max).utf8.count == 200_001)
    }
}
