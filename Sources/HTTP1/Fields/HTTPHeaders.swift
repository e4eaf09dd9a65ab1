internal import NIOCore

/// The fields of a head or of trailers, in the order and with the bytes in which they came.
///
/// They are ranges into the head's own bytes: no string is made for a field that nobody asks for. The bytes stay in
/// the buffer that they were read into, so whoever keeps fields for long copies what it needs.
public struct HTTPHeaders: Sendable {
    private let bytes: ByteBuffer
    private let fields: [HTTPFieldRange]

    /// No fields at all.
    public init() {
        bytes = ByteBuffer()
        fields = []
    }

    /// The ranges lie within the bytes: the field section has just read them there.
    init(bytes: ByteBuffer, fields: [HTTPFieldRange]) {
        self.bytes = bytes
        self.fields = fields
    }

    /// How many field lines there are.
    public var count: Int { fields.count }

    /// Says whether there is none.
    public var isEmpty: Bool { fields.isEmpty }

    /// The values of all fields of this name in order, without the white space around them.
    ///
    /// Each byte beyond ASCII reads as U+FFFD: what is asked for here is ASCII, and comparing marks that combine costs
    /// the square of their number. `forEach` has the bytes as they came.
    public func values(of name: StaticString) -> [String] {
        let span = bytes.readableBytesUInt8Span
        var values: [String] = []
        for field in fields where span.matches(field.name, name) { values.append(span.asciiText(field.value)) }
        return values
    }

    /// The value of the first field of this name, without the white space around it; bytes beyond ASCII as in
    /// ``values(of:)``.
    public func first(_ name: StaticString) -> String? {
        let span = bytes.readableBytesUInt8Span
        for field in fields where span.matches(field.name, name) { return span.asciiText(field.value) }
        return nil
    }

    /// Says whether there is a field of this name.
    public func contains(_ name: StaticString) -> Bool {
        let span = bytes.readableBytesUInt8Span
        for field in fields where span.matches(field.name, name) { return true }
        return false
    }

    /// Says whether the token stands in the comma list of any field of this name, regardless of case.
    public func hasToken(_ token: StaticString, in name: StaticString) -> Bool {
        let span = bytes.readableBytesUInt8Span
        for field in fields where span.matches(field.name, name) {
            if span.listHasToken(field.value, token) { return true }
        }
        return false
    }

    /// Calls `body` with the bytes of each name and trimmed value; the pointers are valid only during the call.
    public func forEach(
        _ body: (_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws -> Void
    ) rethrows {
        try bytes.withUnsafeReadableBytes { pointer in
            for field in fields {
                try body(
                    UnsafeRawBufferPointer(rebasing: pointer[field.name]),
                    UnsafeRawBufferPointer(rebasing: pointer[field.value])
                )
            }
        }
    }

    /// The text of a range of the head that is no field: the reason of a status line.
    package func text(_ range: Range<Int>) -> String {
        let span = bytes.readableBytesUInt8Span
        guard range.upperBound <= span.count else { return "" }
        return span.text(range)
    }
}
