import NIOCore
import Testing
import WebSocketProtocol

@Suite struct PayloadMaskTests {
    static func plainly(_ bytes: [UInt8], _ key: [UInt8]) -> [UInt8] {
        bytes.enumerated().map { $1 ^ key[$0 % 4] }
    }

    static func copy(_ bytes: ArraySlice<UInt8>, _ mask: inout PayloadMask) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: bytes.count)
        let copied = result.withUnsafeMutableBytes { into in bytes.withUnsafeBytes { mask.copy($0, to: into) } }
        #expect(copied == bytes.count)
        return result
    }

    @Test("Payloads of each length around the wide steps are unmasked as byte by byte")
    func lengths() {
        let key: [UInt8] = [0x11, 0x22, 0x44, 0x88]
        for count in 0...140 {
            var mask = PayloadMask(0x11, 0x22, 0x44, 0x88)
            let bytes = Talk.pattern(count)
            #expect(Self.copy(bytes[...], &mask) == Self.plainly(bytes, key))
        }
    }

    @Test("The key keeps its phase at any split")
    func splits() {
        let key: [UInt8] = [1, 2, 3, 4]
        let bytes = Talk.pattern(100)
        let expected = Self.plainly(bytes, key)
        for first in 0...bytes.count {
            for second in [first, min(first + 3, 100), min(first + 34, 100), 100] {
                var mask = PayloadMask(1, 2, 3, 4)
                let result =
                    Self.copy(bytes[..<first], &mask) + Self.copy(bytes[first..<second], &mask)
                    + Self.copy(bytes[second...], &mask)
                #expect(result == expected)
            }
        }
    }

    @Test("Twice masked is unmasked, in place too")
    func inPlace() {
        var bytes = Talk.pattern(77)
        for _ in 0..<2 {
            var mask = PayloadMask(9, 8, 7, 6)
            bytes.withUnsafeMutableBytes { _ = mask.copy(UnsafeRawBufferPointer($0), to: $0) }
        }
        #expect(bytes == Talk.pattern(77))
    }

    @Test("No more is copied than both sides have room for")
    func room() {
        let bytes = Talk.pattern(50)
        var small = [UInt8](repeating: 0, count: 10)
        var mask = PayloadMask(1, 2, 3, 4)
        let copied = small.withUnsafeMutableBytes { into in bytes.withUnsafeBytes { mask.copy($0, to: into) } }
        #expect(copied == 10)
        #expect(small == Array(Self.plainly(bytes, [1, 2, 3, 4]).prefix(10)))
        #expect(mask == PayloadMask(3, 4, 1, 2))
        #expect(
            mask.copy(
                UnsafeRawBufferPointer(start: nil, count: 0),
                to: UnsafeMutableRawBufferPointer(start: nil, count: 0)
            ) == 0
        )
    }

    @Test("Moving between buffers takes what is there and leaves the rest")
    func move() {
        var source = ByteBuffer(bytes: Talk.pattern(20))
        var target = ByteBuffer(string: "kept")
        var mask = PayloadMask(1, 2, 3, 4)
        mask.move(15, from: &source, to: &target)
        #expect(source.readableBytes == 5)
        mask.move(15, from: &source, to: &target)
        mask.move(0, from: &source, to: &target)
        mask.move(-1, from: &source, to: &target)
        #expect(target == ByteBuffer(bytes: Array("kept".utf8) + Self.plainly(Talk.pattern(20), [1, 2, 3, 4])))
    }
}
