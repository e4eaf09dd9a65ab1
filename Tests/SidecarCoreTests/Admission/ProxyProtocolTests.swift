import NIOCore
import Testing

@testable import SidecarCore

@Suite("PROXY protocol")
struct ProxyProtocolTests {
    /// What came of an input: the header or the error, and how many bytes were taken.
    private struct Outcome: Equatable {
        var header: ProxyHeader?
        var error: ProxyProtocolError?
        var taken: Int
    }

    private func read(_ bytes: [UInt8], mode: ProxyProtocolMode = .any, cutAt cuts: [Int]) -> Outcome {
        var decoder = ProxyProtocolDecoder(mode: mode)
        var buffer = ByteBuffer()
        var taken = 0
        var start = 0
        for cut in cuts + [bytes.count] {
            buffer.writeBytes(bytes[start..<cut])
            start = cut
            let before = buffer.readableBytes
            defer { taken += before - buffer.readableBytes }
            do throws(ProxyProtocolError) {
                if let header = try decoder.consume(&buffer) {
                    return Outcome(header: header, error: nil, taken: taken + before - buffer.readableBytes)
                }
            } catch {
                return Outcome(header: nil, error: error, taken: taken + before - buffer.readableBytes)
            }
        }
        return Outcome(header: nil, error: nil, taken: taken)
    }

    /// Reads whole, cut at each byte, and byte by byte, which all have to agree.
    private func read(_ bytes: [UInt8], mode: ProxyProtocolMode = .any) -> Outcome {
        let whole = read(bytes, mode: mode, cutAt: [])
        for cut in stride(from: 0, through: bytes.count, by: max(1, bytes.count / 600)) {
            #expect(read(bytes, mode: mode, cutAt: [cut]) == whole, "cut at \(cut)")
        }
        #expect(read(bytes, mode: mode, cutAt: Array(bytes.indices)) == whole)
        return whole
    }

    private func proxied(_ source: String, _ sourcePort: UInt16, _ target: String, _ port: UInt16) throws -> ProxyHeader
    {
        .proxied(
            source: try #require(IPAddress(source)),
            sourcePort: sourcePort,
            destination: try #require(IPAddress(target)),
            destinationPort: port
        )
    }

    private func v2(_ command: UInt8, _ family: UInt8, _ block: [UInt8], length: Int? = nil) -> [UInt8] {
        let length = length ?? block.count
        return [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10, command, family]
            + [UInt8(length >> 8 & 255), UInt8(length & 255)] + block
    }

    private let ipv4Block: [UInt8] = [192, 0, 2, 1, 10, 0, 0, 9, 0xDC, 0x04, 0x01, 0xBB]
    private let ipv6Block: [UInt8] =
        [0x20, 1, 0xD, 0xB8] + Array(repeating: 0, count: 11) + [1] + Array(repeating: 0, count: 15) + [1] + [
            0, 1, 0, 2,
        ]

    @Test("A version 1 line names the client, and what follows it stays in the buffer")
    func v1() throws {
        let line = Array("PROXY TCP4 192.0.2.1 10.0.0.9 56324 443\r\n".utf8)
        let expected = try proxied("192.0.2.1", 56324, "10.0.0.9", 443)
        #expect(read(line) == Outcome(header: expected, error: nil, taken: line.count))
        let more = line + Array("GET / HTTP/1.1\r\n\r\nPROXY ".utf8)
        #expect(read(more, mode: .v1) == Outcome(header: expected, error: nil, taken: line.count))
        for length in line.indices {
            #expect(read(Array(line.prefix(length))) == Outcome(header: nil, error: nil, taken: length))
        }
    }

    @Test(
        "Valid version 1 lines",
        arguments: [
            ("TCP6 2001:db8::1 ::1 1 2", "2001:db8::1"), ("TCP6 ::ffff:1.2.3.4 ::ffff:5.6.7.8 1 2", "1.2.3.4"),
            ("TCP4 1.2.3.4 5.6.7.8 0 65535", "1.2.3.4"),
            (
                "TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535"
                    .replacing("f...f", with: "ffff:ffff:ffff:ffff:ffff:ffff"),
                "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
            ),
            ("UNKNOWN", nil), ("UNKNOWN ", nil), ("UNKNOWN ::1 garbage  x", nil),
        ] as [(String, String?)]
    )
    func v1Valid(line: String, source: String?) {
        let outcome = read(Array("PROXY \(line)\r\n".utf8))
        #expect(outcome.header?.source == source.flatMap { IPAddress($0) })
        #expect(outcome.error == nil && outcome.header != nil)
        #expect((outcome.header == .local) == (source == nil))
    }

    @Test(
        "Version 1 lines that are refused",
        arguments: [
            "", " TCP4 1.2.3.4 5.6.7.8 1 2", "TCP4", "TCP4 ", "TCP4 1.2.3.4 5.6.7.8 1", "TCP4 1.2.3.4 5.6.7.8 1 2 3",
            "TCP4 1.2.3.4 5.6.7.8 1 2 ", "TCP4  1.2.3.4 5.6.7.8 1 2", "TCP4 1.2.3.4\t5.6.7.8 1 2",
            "tcp4 1.2.3.4 5.6.7.8 1 2",
            "TCP5 1.2.3.4 5.6.7.8 1 2", "UNKNOWNX", "unknown", "TCP4 ::1 ::1 1 2", "TCP6 1.2.3.4 5.6.7.8 1 2",
            "TCP4 1.2.3.4 ::1 1 2", "TCP4 ::ffff:1.2.3.4 5.6.7.8 1 2", "TCP6 fe80::1%eth0 ::1 1 2",
            "TCP4 01.2.3.4 5.6.7.8 1 2", "TCP4 1.2.3.4 5.6.7.8 01 2", "TCP4 1.2.3.4 5.6.7.8 00 2",
            "TCP4 1.2.3.4 5.6.7.8 65536 2", "TCP4 1.2.3.4 5.6.7.8 -1 2", "TCP4 1.2.3.4 5.6.7.8 1 ",
            "TCP6 [::1] ::1 1 2",
            "TCP4 1.2.3.4 5.6.7.8 999999 2", "UDP4 1.2.3.4 5.6.7.8 1 2", "TCP4 1.2.3.4 5.6.7.8 1 2\u{0}",
        ]
    )
    func v1Invalid(line: String) {
        #expect(read(Array("PROXY \(line)\r\n".utf8)).error == .invalidLine)
    }

    @Test("A version 1 line has 107 bytes at most and ends with CRLF")
    func v1Length() {
        for length in [106, 107, 108, 500] {
            let line = "PROXY UNKNOWN" + String(repeating: "x", count: length - 15).replacing("xx", with: " x") + "\r\n"
            let outcome = read(Array(line.utf8))
            #expect(line.utf8.count == length)
            let isFine = length <= 107
            #expect(outcome.error == (isFine ? nil : .invalidLineEnd), "\(length)")
            #expect(outcome.taken == min(length, 107))
        }
        // Found at the byte that is wrong, not at the end.
        #expect(read(Array("PROXY UNKNOWN\nGET".utf8)) == Outcome(header: nil, error: .invalidLineEnd, taken: 14))
        #expect(read(Array("PROXY UNKNOWN\rGET".utf8)) == Outcome(header: nil, error: .invalidLineEnd, taken: 15))
        #expect(read(Array("PROXY UNKNOWN\r\r\n".utf8)) == Outcome(header: nil, error: .invalidLineEnd, taken: 15))
        #expect(read(Array("PROXY \n".utf8)).error == .invalidLineEnd)
        #expect(read(Array("PROXY \r\n".utf8)).error == .invalidLine)
    }

    @Test("A wrong signature is found at its first wrong byte, in every mode")
    func signatures() {
        let text = Array("PROXY ".utf8)
        let binary = v2(0x21, 0x11, ipv4Block)
        for (signature, mode) in [(text, ProxyProtocolMode.v1), (Array(binary.prefix(12)), .v2)] {
            for index in signature.indices {
                var bytes = signature
                bytes[index] ^= 0x20
                for accepted in [mode, .any] {
                    let outcome = read(bytes, mode: accepted)
                    #expect(outcome == Outcome(header: nil, error: .noSignature, taken: index + 1))
                }
            }
        }
        for start in ["GET / HTTP/1.1\r\n", "\u{16}\u{3}\u{1}", "\0", "proxy TCP4", "\n"] {
            for mode in ProxyProtocolMode.allCases {
                #expect(read(Array(start.utf8), mode: mode) == Outcome(header: nil, error: .noSignature, taken: 1))
            }
        }
        #expect(read(Array("POST / HTTP/1.1\r\n".utf8)) == Outcome(header: nil, error: .noSignature, taken: 2))
        #expect(read(text, mode: .v2) == Outcome(header: nil, error: .noSignature, taken: 1))
        #expect(read(binary, mode: .v1) == Outcome(header: nil, error: .noSignature, taken: 1))
    }

    @Test("Version 2 over TCP names the client, with or without extensions")
    func v2Proxied() throws {
        let ipv4 = try proxied("192.0.2.1", 56324, "10.0.0.9", 443)
        let ipv6 = try proxied("2001:db8::1", 1, "::1", 2)
        for extensions in [0, 1, 3, 7, 255, 4000] {
            let tail = [UInt8](repeating: 0xFF, count: extensions)
            for (bytes, expected) in [
                (v2(0x21, 0x11, ipv4Block + tail), ipv4), (v2(0x21, 0x21, ipv6Block + tail), ipv6),
            ] {
                let outcome = Outcome(header: expected, error: nil, taken: bytes.count)
                #expect(read(bytes, mode: .v2) == outcome)
                #expect(read(bytes + Array("GET".utf8)) == outcome)
                let cut = read(Array(bytes.dropLast()))
                #expect(cut == Outcome(header: nil, error: nil, taken: bytes.count - 1))
            }
        }
        let mapped = Array(repeating: UInt8(0), count: 10) + [255, 255, 1, 2, 3, 4]
        let outcome = read(v2(0x21, 0x21, mapped + mapped + [0, 1, 0, 2]))
        #expect(outcome.header?.source == IPAddress("1.2.3.4"))
    }

    @Test("Version 2 without a TCP address is the peer's own connection, and is skipped exactly")
    func v2Local() {
        let any = [UInt8](repeating: 0xAB, count: 216)
        for bytes in [
            v2(0x20, 0x00, []), v2(0x20, 0x11, ipv4Block), v2(0x20, 0x11, []), v2(0x20, 0xFF, [1, 2, 3]),
            v2(0x21, 0x00, []), v2(0x21, 0x00, any), v2(0x21, 0x01, []), v2(0x21, 0x31, any), v2(0x21, 0x32, any + [1]),
            v2(0x21, 0x12, ipv4Block), v2(0x21, 0x22, ipv6Block), v2(0x21, 0x10, ipv4Block), v2(0x21, 0x20, ipv6Block),
        ] {
            #expect(read(bytes + [1, 2]) == Outcome(header: .local, error: nil, taken: bytes.count))
        }
    }

    @Test("Version 2 headers that are refused, each at the byte that is wrong")
    func v2Invalid() {
        for version in UInt8(0)...15 where version != 2 {
            let outcome = read(v2(version << 4 | 1, 0x11, ipv4Block))
            #expect(outcome == Outcome(header: nil, error: .unsupportedVersion, taken: 13))
        }
        for command in UInt8(2)...15 {
            let outcome = read(v2(0x20 | command, 0x11, ipv4Block))
            #expect(outcome == Outcome(header: nil, error: .unknownCommand, taken: 13))
        }
        for family: UInt8 in [0x03, 0x13, 0x1F, 0x23, 0x41, 0x40, 0xF1, 0xFF] {
            let outcome = read(v2(0x21, family, ipv6Block))
            #expect(outcome == Outcome(header: nil, error: .unknownFamily, taken: 14))
        }
        for (family, needed) in [(UInt8(0x11), 12), (0x12, 12), (0x21, 36), (0x22, 36), (0x31, 216), (0x32, 216)] {
            let block = [UInt8](repeating: 1, count: needed)
            #expect(read(v2(0x21, family, Array(block.dropLast()))).error == .addressBlockTooShort)
            #expect(read(v2(0x21, family, [])).error == .addressBlockTooShort)
            #expect(read(v2(0x21, family, block)).error == nil)
        }
    }

    @Test("A version 2 header has 4112 bytes at most, and a longer one is refused before they come")
    func v2Length() {
        for (length, isFine) in [(4095, true), (4096, true), (4097, false), (65535, false)] {
            for command: UInt8 in [0x20, 0x21] {
                let bytes = v2(command, 0x11, [UInt8](repeating: 1, count: length))
                let outcome = read(bytes, cutAt: [])
                #expect(outcome.error == (isFine ? nil : .headerTooLong))
                #expect(outcome.taken == (isFine ? bytes.count : 16))
            }
        }
        #expect(read(v2(0x21, 0x11, [], length: 65535)).error == .headerTooLong)
    }

    @Test("A decoder that has ended takes no more bytes and says the same again")
    func repeated() throws {
        var decoder = ProxyProtocolDecoder(mode: .any)
        var buffer = ByteBuffer(string: "PROXY UNKNOWN\r\nPROXY UNKNOWN\r\n")
        #expect(try decoder.consume(&buffer) == .local)
        #expect(try decoder.consume(&buffer) == .local)
        #expect(buffer.readableBytes == 15)
        var failing = ProxyProtocolDecoder(mode: .v2)
        #expect(throws: ProxyProtocolError.noSignature) { _ = try failing.consume(&buffer) }
        #expect(throws: ProxyProtocolError.noSignature) { _ = try failing.consume(&buffer) }
        #expect(buffer.readableBytes == 14)
    }

    @Test("Every error has its own sentence")
    func sentences() {
        #expect(Set(ProxyProtocolError.allCases.map(\.sentence)).count == ProxyProtocolError.allCases.count)
    }
}
