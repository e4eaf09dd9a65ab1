/// Checks UTF-8 as it arrives, in pieces cut anywhere (RFC 3629, RFC 6455 §8.1).
///
/// It refuses surrogates, overlong forms and anything past U+10FFFF at the first byte that makes them certain.
public struct UTF8Validator: Sendable {
    /// Continuation bytes that the open character still needs.
    private var due: UInt8 = 0
    /// The range of the next continuation byte; only the second byte of a character has one narrower than 80–BF.
    private var lowest: UInt8 = 0x80
    private var highest: UInt8 = 0xBF

    /// Starts at a character boundary.
    public init() {}

    /// True when no character is cut short.
    public var isComplete: Bool { self.due == 0 }

    /// Checks further bytes; false as soon as they can't be UTF-8, and from then on.
    public mutating func consume(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let count = bytes.count
        guard count > 0, let base = bytes.baseAddress else { return !self.hasFailed }
        var offset = 0
        while offset < count {
            let byte = base.load(fromByteOffset: offset, as: UInt8.self)
            if self.due > 0 {
                guard byte >= self.lowest && byte <= self.highest else { return self.fail() }
                self.expect(Rest(self.due &- 1))
                offset &+= 1
            } else if byte < 0x80 {
                offset = Self.skipASCII(base, from: offset &+ 1, count: count)
            } else {
                guard let rest = Rest(after: byte) else { return self.fail() }
                let length = Int(rest.count) &+ 1
                if count &- offset >= length {
                    guard rest.matches(base + (offset &+ 1)) else { return self.fail() }
                    offset &+= length
                } else {
                    self.expect(rest)
                    offset &+= 1
                }
            }
        }
        return true
    }

    /// True when `bytes` are whole UTF-8.
    public static func isValid(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var validator = UTF8Validator()
        return validator.consume(bytes) && validator.isComplete
    }

    /// Where the run of ASCII that starts at `offset` ends, looking at 32 and 8 bytes at a time.
    private static func skipASCII(_ base: UnsafeRawPointer, from offset: Int, count: Int) -> Int {
        var offset = offset
        let top: UInt64 = 0x8080_8080_8080_8080
        while count &- offset >= 32 {
            let block = base.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt64>.self)
            guard (block[0] | block[1] | block[2] | block[3]) & top == 0 else { break }
            offset &+= 32
        }
        while count &- offset >= 8 {
            guard base.loadUnaligned(fromByteOffset: offset, as: UInt64.self) & top == 0 else { break }
            offset &+= 8
        }
        while offset < count, base.load(fromByteOffset: offset, as: UInt8.self) < 0x80 {
            offset &+= 1
        }
        return offset
    }

    private mutating func expect(_ rest: Rest) {
        self.due = rest.count
        self.lowest = rest.lowest
        self.highest = rest.highest
    }

    /// Leaves an empty range, so that no later byte fits.
    private mutating func fail() -> Bool {
        self.expect(Rest(1, lowest: 0xFF, highest: 0x00))
        return false
    }

    private var hasFailed: Bool { self.lowest > self.highest }
}

/// The continuation bytes that a character needs.
private struct Rest {
    let count: UInt8
    /// The range of the first of them; the others are 80–BF.
    let lowest: UInt8
    let highest: UInt8

    init(_ count: UInt8, lowest: UInt8 = 0x80, highest: UInt8 = 0xBF) {
        self.count = count
        self.lowest = lowest
        self.highest = highest
    }

    /// What has to follow `lead`, by the table of RFC 3629 §4; nil when it starts no character of several bytes.
    init?(after lead: UInt8) {
        switch lead {
        case 0xC2...0xDF: self.init(1)
        case 0xE0: self.init(2, lowest: 0xA0)
        case 0xED: self.init(2, highest: 0x9F)
        case 0xE1...0xEF: self.init(2)
        case 0xF0: self.init(3, lowest: 0x90)
        case 0xF1...0xF3: self.init(3)
        case 0xF4: self.init(3, highest: 0x8F)
        default: return nil
        }
    }

    /// True when the `count` bytes at `next`, which must be there, are what has to follow.
    func matches(_ next: UnsafeRawPointer) -> Bool {
        let second = next.load(as: UInt8.self)
        guard second >= self.lowest && second <= self.highest else { return false }
        if self.count >= 2 {
            guard next.load(fromByteOffset: 1, as: UInt8.self) & 0xC0 == 0x80 else { return false }
        }
        if self.count == 3 {
            guard next.load(fromByteOffset: 2, as: UInt8.self) & 0xC0 == 0x80 else { return false }
        }
        return true
    }
}
