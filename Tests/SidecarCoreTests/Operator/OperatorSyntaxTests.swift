import NIOCore
import SidecarCore
import Testing

@Suite("What calls of the API say")
struct OperatorSyntaxTests {
    @Test("An escape in a path is two hexadecimal digits and nothing else")
    func percent() {
        #expect(OperatorSyntax.text("a%2Fb%c3%A9") == "a/bé")
        for text in ["%+F", "%-1", "%0", "%", "%%", "%2", "%g0", "%0g", "% 1", "%0x"] {
            #expect(OperatorSyntax.text(text) == text)
        }
        #expect(OperatorSyntax.text("%%41") == "%A" && OperatorSyntax.text("%ff") == nil)
    }

    @Test(
        "A form is text, since curl calls everything a form, and is never binary",
        arguments: [
            "application/x-www-form-urlencoded", "APPLICATION/X-WWW-Form-urlencoded ; charset=utf-8",
        ]
    )
    func forms(type: String) throws {
        let body = ByteBuffer(string: #"{"id":7}"#)
        let (format, payload) = try OperatorSyntax.message(contentType: type, body: body)
        #expect(format == .text && payload == body)
        let fault = #expect(throws: BodyFault.self) {
            try OperatorSyntax.message(contentType: type, body: ByteBuffer(bytes: [0xFF]))
        }
        #expect(fault?.isOfType == true && fault?.sentence.contains("application/octet-stream") == true)
    }

    @Test("What is no message names the remedy, and all else is what a reply would be")
    func types() throws {
        for type in ["multipart/form-data; boundary=x", "application/vnd.sidesocket+json"] {
            let fault = #expect(throws: BodyFault.self) {
                try OperatorSyntax.message(contentType: type, body: ByteBuffer(string: "[]"))
            }
            #expect(fault?.isOfType == true && fault?.sentence.contains("text/plain") == true)
        }
        let bytes = ByteBuffer(bytes: [0xFF])
        #expect(throws: BodyFault.self) { try OperatorSyntax.message(contentType: "text/plain", body: bytes) }
        #expect(try OperatorSyntax.message(contentType: nil, body: bytes).0 == .binary)
        #expect(try OperatorSyntax.message(contentType: nil, body: ByteBuffer(string: "é")).0 == .text)
        #expect(try OperatorSyntax.message(contentType: "application/json", body: ByteBuffer(string: "1")).0 == .json)
        #expect(try OperatorSyntax.message(contentType: "image/png", body: ByteBuffer(string: "1")).0 == .binary)
    }

    private func terms(_ body: String, _ query: (String, String)...) throws -> BanTerms {
        try BanTerms(query: query.map { (name: $0.0, value: $0.1) }, body: ByteBuffer(string: body))
    }

    @Test("A ban takes its terms from the query or from a JSON body")
    func banTerms() throws {
        #expect(try terms("").ttl == nil && terms(" \r\n").reason == nil)
        #expect(try terms("", ("ttl", "10m"), ("reason", "x")).ttl == .minutes(10))
        let both = try terms(#"{"reason":"scraper é"}"#, ("ttl", "5s"))
        #expect(both.ttl == .seconds(5) && both.reason == "scraper é")
        #expect(try terms(#"{"ttl":"720h"}"#).ttl == .hours(720) && terms("{}").ttl == nil)
        #expect(try terms(#"{"reason":"\#(String(repeating: "x", count: 256))"}"#).reason?.utf8.count == 256)
    }

    @Test(
        "Terms that are not understood are no hour in silence",
        arguments: [
            "ttl=10m", "10m", "[]", "null", #""10m""#, "{", #"{"ttl":600}"#, #"{"ttl":null}"#, #"{"ttl":"721h"}"#,
            #"{"duration":"10m"}"#, #"{"TTL":"10m"}"#, #"{"ttl":"10m","ttl":"1h"}"#, #"{"ttl":"10m"} x"#,
            #"{"reason":1}"#, "\u{0}",
        ]
    )
    func badTerms(body: String) {
        #expect(throws: BodyFault.self) { try terms(body) }
    }

    @Test("Nor are parameters that are unknown or given twice")
    func badQuery() {
        #expect(throws: BodyFault.self) { try terms("", ("tll", "10m")) }
        #expect(throws: BodyFault.self) { try terms("", ("ttl", "10m"), ("ttl", "1h")) }
        #expect(throws: BodyFault.self) { try terms(#"{"ttl":"1h"}"#, ("ttl", "10m")) }
        #expect(throws: BodyFault.self) { try terms("", ("ttl", "")) }
        #expect(throws: BodyFault.self) { try terms("", ("reason", String(repeating: "x", count: 257))) }
    }
}
