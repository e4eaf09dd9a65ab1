import NIOCore
import Testing

@testable import SidecarCore

@Suite("Events in bodies that are passed through")
struct StructuredEventsTests {
    private func treatment(_ fields: String..., length: Int = 2) throws -> String {
        let lines = ["POST /x HTTP/1.1", "Host: a", "Content-Length: \(length)"] + fields
        switch StructuredEvents.treatment(of: try Heads.request(lines: lines)) {
        case .stream: return "stream"
        case .inspect: return "inspect"
        case .refuse(let refusal): return "\(refusal.status)"
        }
    }

    private func judge(_ body: String) -> Int? {
        StructuredEvents.refusal(of: ByteBuffer(string: body))?.status
    }

    @Test(
        "A body of one of the two types is read, however the type is written",
        arguments: [
            "application/cloudevents+json", "Application/CloudEvents+JSON", "application/cloudevents-batch+json",
            "application/cloudevents+json; charset=UTF-8", "application/cloudevents+json;charset=\"utf-8\"",
            "text/plain, application/cloudevents+json", "application/cloudevents", "application/cloudevents;x=y",
            "application/cloudevents-batch", "application/cloudevents+jsonp",
        ]
    )
    func types(type: String) throws {
        #expect(try treatment("Content-Type: \(type)") == "inspect")
        #expect(try treatment("Content-Type: text/plain", "Content-Type: \(type)") == "inspect")
    }

    @Test(
        "Other bodies are streamed",
        arguments: [
            "application/json", "application/cloudevents+xml", "application/cloudevents+avro;x=1",
            "application/cloudevent",
            "application/x-cloudevent+json",
        ]
    )
    func otherTypes(type: String) throws {
        #expect(try treatment("Content-Type: \(type)") == "stream")
        #expect(try treatment("Content-Type: \(type)", "Content-Encoding: gzip") == "stream")
    }

    @Test("What cannot be judged is refused")
    func unreadable() throws {
        let type = "Content-Type: application/cloudevents+json"
        #expect(try treatment(type, "Content-Encoding: gzip") == "415")
        #expect(try treatment(type, "Content-Encoding: identity", "content-encoding: br") == "415")
        #expect(try treatment(type, "Content-Encoding: identity") == "inspect")
        for charset in ["utf-16", "utf-7", "UTF-7", "'utf-16le'", "", "\"iso-8859-1\""] {
            #expect(try treatment("\(type); a=b ;Charset = \(charset)") == "415", "\(charset)")
        }
        #expect(try treatment("Content-Type: text/plain;charset=utf-7,application/cloudevents+json") == "415")
        #expect(try treatment("\(type)" + String(repeating: ";a", count: 16)) == "inspect")
        #expect(try treatment("\(type)" + String(repeating: ";a", count: 17)) == "415")
        #expect(try treatment(type, length: StructuredEvents.maxBytes) == "inspect")
        #expect(try treatment(type, length: 0) == "stream", "there is no event in no body")
        #expect(try treatment(type, length: StructuredEvents.maxBytes + 1) == "413")
    }

    @Test(
        "An event that claims to be ours is refused, however its type is written (abuse case 43)",
        arguments: [
            #"{"type":"sidesocket.message"}"#, #"{"specversion":"1.0","type" : "SideSocket.OPEN","id":"1"}"#,
            #"{"type":"a","type":"sidesocket.message"}"#, #"{"type":"a","TYPE":"sidesocket.message"}"#,
            #"{"type":"a","extensions":{"x":1,"type":"sidesocket.open"}}"#, #"{"type":"\u0073idesocket.message"}"#,
            #"{"\u0074ype":"sidesocket.close"}"#, #"{"TYPE":"sidesocket."}"#,
            #"{"type":"sidesocket\u002emessage"}"#, #"{"type":" sidesocket.message"}"#, #"{"type":"%73idesocket.x"}"#,
            #"[{"type":"a"},{"data":[1,{"x":null}],"type":"sidesocket.message"}]"#,
            "\u{FEFF}{\"type\":\"sidesocket.message\"}", #" [ {"type":"sidesocket.message"} ] "#,
        ]
    )
    func forged(body: String) {
        #expect(judge(body) == 403)
    }

    @Test(
        "What two readers could understand differently is refused",
        arguments: [
            #"{"type":"a","\u0074ype":"b"}"#, #"{"type":"a","Type":"b"}"#,
            #"{"type":"a",}"#, #"{"type":"a"}x"#, #"{"type":["sidesocket.message"]}"#, #"{"type":null}"#,
            #"{"type":"\ud800"}"#, #"{"data":NaN,"type":"a"}"#, #"{"data":01}"#, #"{"data":"\x"}"#, #"{'type':'a'}"#,
            "", "null", "\"x\"", "[1]", "[[{}]]", "{\"a\":\"\u{1}\"}", "{\"a\":[1,2}", "{\"a\":{\"b\":1]}", "{\"a\" 1}",
            "{\"a\":tru}", "{\"a\":1,,\"b\":2}", "{\"a\":[1,]}", "{\"a\":{\"b\":1,}}", "/**/{}", "{\"a\":",
            "{\"data\":" + String(repeating: "[", count: 300) + String(repeating: "]", count: 300) + "}",
            "{\"data\":" + String(repeating: "[", count: 500_000),
        ]
    )
    func malformed(body: String) {
        #expect(judge(body) == 400)
    }

    @Test("Bytes that are no UTF-8 are refused")
    func encodings() {
        for bytes: [UInt8] in [
            [0xFF], Array("{\"type\":\"".utf8) + [0xC0, 0xB0] + Array("\"}".utf8), [0x7B, 0, 0x7D, 0],
        ] {
            #expect(StructuredEvents.refusal(of: ByteBuffer(bytes: bytes))?.status == 400)
        }
    }

    @Test(
        "Somebody else's events pass",
        arguments: [
            #"{"specversion":"1.0","type":"com.example.sidesocket.message","source":"/x","id":"1"}"#, "{}", "[]",
            "[{}]",
            #"{"type":"sidesockets"}"#, #"{"data":{"type":"sidesocket.message","type":1},"type":"a"}"#,
            #"{"data":"\ud83d\ude00 \ud800 \"\\\/\b\f\n\r\t","type":"order"}"#, #"{"data":-1.5e+10,"x":[],"y":{}}"#,
            #"{"data":[[],{},[{}],"a",1,true,false,null],"type":"é"}"#,
            "{\"data\":1234567890123456789012345678901234567890}",
        ]
    )
    func innocent(body: String) {
        #expect(judge(body) == nil)
    }

    @Test("What costs the square of its length elsewhere is read in one pass")
    func cost() throws {
        let marks = String(repeating: "\u{301}", count: 40_000) + String(repeating: "\u{316}", count: 40_000)
        let types = String(repeating: "application/cloudevents+", count: 1300)
        let began = ContinuousClock.now
        #expect(judge("{\"a\(marks)\":1}") == 400)
        #expect(judge("{\"a\":\"\(marks)\",\"type\":\"\(marks)\"}") == nil)
        #expect(try treatment("Content-Type: \(types)") == "stream")
        let few = String(repeating: "\u{301}\u{316}", count: 3_000)
        #expect(try treatment("Content-Type: x;\(few)charset=\(few)") == "stream")
        // Milliseconds; the square would be minutes.
        #expect(ContinuousClock.now - began < .seconds(5))
    }

    @Test("Depth and members have limits, tried just below and above")
    func limits() {
        func nested(_ depth: Int) -> String {
            "{\"data\":" + String(repeating: "[", count: depth) + "1" + String(repeating: "]", count: depth) + "}"
        }
        #expect(judge(nested(StructuredEvents.maxDepth)) == nil)
        #expect(judge(nested(StructuredEvents.maxDepth + 1)) == 400)
        func wide(_ members: Int) -> String {
            "{" + (0..<members).map { "\"a\($0)\":0" }.joined(separator: ",") + "}"
        }
        #expect(judge(wide(StructuredEvents.maxMembers)) == nil)
        #expect(judge(wide(StructuredEvents.maxMembers + 1)) == 400)
    }
}
