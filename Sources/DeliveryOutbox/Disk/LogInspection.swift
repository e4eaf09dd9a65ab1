#if canImport(Glibc)
    internal import Glibc
#elseif canImport(Musl)
    internal import Musl
#elseif canImport(Darwin)
    internal import Darwin
#endif

/// Looks into SQLite's write-ahead log before SQLite does, which takes the first broken frame for the end of it and
/// says nothing (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
struct LogInspection {
    private static let headerBytes = 32
    private static let frameHeaderBytes = 24
    /// Logs are a few thousand frames long.
    private static let mostFrames = 1_000_000

    private let descriptor: Int32
    private let isBigEndian: Bool
    private var sums: (UInt32, UInt32) = (0, 0)

    /// Transactions that SQLite will pass over since they lie behind a broken frame.
    ///
    /// One is none: it was being written when the process was killed.
    static func lostTransactions(in path: String) -> Int {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { return 0 }
        defer { close(descriptor) }
        guard let header = read(descriptor, headerBytes, at: 0) else { return 0 }
        var log = LogInspection(descriptor: descriptor, isBigEndian: header[3] & 1 == 1)
        let behind = log.commitsBehindDamage(header)
        return behind > 1 ? behind : 0
    }

    private init(descriptor: Int32, isBigEndian: Bool) {
        self.descriptor = descriptor
        self.isBigEndian = isBigEndian
    }

    private mutating func commitsBehindDamage(_ header: [UInt8]) -> Int {
        let pageBytes = Int(Self.number(header, at: 8))
        guard (512...65_536).contains(pageBytes) else { return 0 }
        add(header[..<24])
        var isDamaged = sums != (Self.number(header, at: 24), Self.number(header, at: 28))
        var behind = 0
        for frame in 0..<Self.mostFrames {
            let offset = Self.headerBytes + frame * (Self.frameHeaderBytes + pageBytes)
            // Frames of an earlier round have other salts.
            guard let bytes = Self.read(descriptor, Self.frameHeaderBytes + pageBytes, at: offset),
                bytes[8..<16].elementsEqual(header[16..<24])
            else { break }
            if !isDamaged {
                add(bytes[..<8])
                add(bytes[Self.frameHeaderBytes...])
                isDamaged = sums != (Self.number(bytes, at: 16), Self.number(bytes, at: 20))
            }
            let endsTransaction = Self.number(bytes, at: 4) > 0
            if isDamaged, endsTransaction { behind += 1 }
        }
        return behind
    }

    /// The log's own checksum, over a multiple of eight bytes.
    private mutating func add(_ bytes: ArraySlice<UInt8>) {
        bytes.withUnsafeBytes { bytes in
            for at in stride(from: 0, to: bytes.count - 7, by: 8) {
                let first = bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self)
                let second = bytes.loadUnaligned(fromByteOffset: at + 4, as: UInt32.self)
                sums.0 &+= (isBigEndian ? UInt32(bigEndian: first) : UInt32(littleEndian: first)) &+ sums.1
                sums.1 &+= (isBigEndian ? UInt32(bigEndian: second) : UInt32(littleEndian: second)) &+ sums.0
            }
        }
    }

    private static func read(_ descriptor: Int32, _ count: Int, at offset: Int) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        let found = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, off_t(offset)) }
        return found == count ? bytes : nil
    }

    private static func number(_ bytes: [UInt8], at offset: Int) -> UInt32 {
        bytes.dropFirst(offset).prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
    }
}
