/// Where one field line stands in the bytes of its head.
struct HTTPFieldRange: Sendable {
    private var nameStart: UInt32
    private var nameEnd: UInt32
    private var valueStart: UInt32
    private var valueEnd: UInt32

    /// A head never comes near 4 GiB, where the offsets would wrap: `ByteBuffer` itself ends there.
    @inline(__always)
    init(name: Range<Int>, value: Range<Int>) {
        nameStart = UInt32(truncatingIfNeeded: name.lowerBound)
        nameEnd = UInt32(truncatingIfNeeded: name.upperBound)
        valueStart = UInt32(truncatingIfNeeded: value.lowerBound)
        valueEnd = UInt32(truncatingIfNeeded: value.upperBound)
    }

    @inline(__always)
    var name: Range<Int> { Int(nameStart)..<Int(nameEnd) }

    @inline(__always)
    var value: Range<Int> { Int(valueStart)..<Int(valueEnd) }
}
