import NIOCore
import TestSupport
import Testing

@testable import HTTP1

@Suite("HTTP headers")
struct HTTPHeadersTests {
    private func headers(_ fields: [UInt8]) throws -> HTTPHeaders {
        var reader = HTTPRequestReader(limits: HTTPLimits())
        var input = ByteBuffer(string: "\r\nGET / HTTP/1.1\r\nHost: a\r\n")
        input.writeBytes(fields)
        input.writeString("\r\n")
        reader.append(&input)
        guard case .head(let head) = try reader.next() else { return HTTPHeaders() }
        return head.headers
    }

    @Test("Fields are found regardless of case, in order, without the white space around them")
    func lookup() throws {
        let headers = try headers(httpBytes("X-A:  1 \r\nx-b:\r\nX-a:\t2\r\n"))
        #expect(headers.count == 4 && !headers.isEmpty)
        #expect(headers.values(of: "x-a") == ["1", "2"])
        #expect(headers.first("x-a") == "1")
        #expect(headers.first("x-b") == "")
        #expect(headers.first("x") == nil)
        #expect(headers.contains("host") && !headers.contains("hos"))
        #expect(headers.values(of: "x-c") == [])
        var lines: [String] = []
        headers.forEach { name, value in
            lines.append("\(String(decoding: name, as: UTF8.self)):\(String(decoding: value, as: UTF8.self))")
        }
        #expect(lines == ["Host:a", "X-A:1", "x-b:", "X-a:2"])
    }

    @Test("A letter matches its other case, a symbol does not match the letter 32 above it")
    func caseFolding() throws {
        let headers = try headers(httpBytes("A^b: 1\r\n"))
        #expect(headers.contains("a^B"))
        #expect(!headers.contains("a~b"))
    }

    @Test("Tokens are found in comma lists over all fields of the name")
    func tokens() throws {
        let headers = try headers(httpBytes("Connection: , keep-alive ,\r\nConnection: X-A,Upgrade\r\n"))
        #expect(headers.hasToken("upgrade", in: "connection") && headers.hasToken("KEEP-ALIVE", in: "connection"))
        #expect(!headers.hasToken("keep", in: "connection") && !headers.hasToken("", in: "connection"))
        #expect(!headers.hasToken("upgrade", in: "upgrade"))
        #expect(headers.hasToken("x-a", in: "connection") && !headers.hasToken("x-b", in: "connection"))
    }

    @Test("Values keep their bytes, also those that are no UTF-8")
    func rawBytes() throws {
        let headers = try headers(httpBytes("X: ") + [0xFF, 0xE4] + httpBytes("\r\n"))
        var values: [[UInt8]] = []
        headers.forEach { name, value in
            if HTTPField.equals(name, "x") { values.append(Array(value)) }
            #expect(HTTPField.hasPrefix(name, "HO") == HTTPField.equals(name, "host"))
        }
        #expect(values == [[0xFF, 0xE4]])
        #expect(headers.first("x") == "\u{FFFD}\u{FFFD}")
    }

    @Test("Names and values to be written are checked byte by byte")
    func fieldChecks() {
        let tokens = Set("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".utf8)
        for byte in UInt8.min...UInt8.max {
            let isToken = [byte].withUnsafeBytes { HTTPField.isToken($0) }
            let isValue = [byte].withUnsafeBytes { HTTPField.isValidFieldValue($0) }
            #expect(isToken == tokens.contains(byte))
            #expect(isValue == (byte == 9 || (byte >= 32 && byte != 127)))
        }
        #expect(HTTPField.isToken("Set-Cookie") && !HTTPField.isToken("") && !HTTPField.isToken("a b"))
        #expect(HTTPField.isValidFieldValue("a\tb é") && !HTTPField.isValidFieldValue("a\r\nb"))
        #expect(HTTPField.isValidFieldValue(""))
    }
}
