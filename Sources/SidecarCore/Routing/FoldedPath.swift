/// A path as the most lenient app would read it, to check whether it may be another spelling of a path that only
/// Sidesocket may call.
///
/// Apps and the servers below them ignore case (Express), parameters behind `;` (Tomcat), a trailing dot or blank
/// (IIS), an extension (Rails), a script name in front (PHP), and decode once or twice. The comparison allows for all
/// of these at once, and so may refuse more than any single app would take for the same path.
struct FoldedPath: Equatable {
    /// How many times a path is decoded; one that is still encoded then is refused.
    private static let maxDecodings = 8
    /// A path with more segments is refused, since each of them costs time.
    private static let maxSegments = 256

    private let segments: [[UInt8]]
    /// Whether all escapes were decoded and all segments examined.
    private let isStable: Bool

    /// Folds the path of a target; its query is ignored.
    init(target: String) {
        var bytes = Array(target.utf8.prefix { $0 != UInt8(ascii: "?") })
        var isStable = false
        for _ in 0..<Self.maxDecodings where !isStable {
            let decoded = PercentEncoding.bytes(bytes)
            isStable = decoded.count == bytes.count
            bytes = decoded
        }
        let hasFewSegments =
            bytes.count(where: { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") }) <= Self.maxSegments
        self.isStable = isStable && hasFewSegments
        segments = hasFewSegments ? Self.segments(of: bytes) : []
    }

    private init(folder: ArraySlice<[UInt8]>) {
        segments = Array(folder)
        isStable = true
    }

    private static func segments(of path: [UInt8]) -> [[UInt8]] {
        var segments: [[UInt8]] = []
        for part in path.split(whereSeparator: { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "\\") }) {
            let segment = folded(part)
            if segment.isEmpty { continue }  // `.` and the like too, but not `..`
            if segment == dots {
                _ = segments.popLast()
            } else {
                segments.append(segment)
            }
        }
        return segments
    }

    private static let dots = Array("..".utf8)

    /// One segment in lower case, without parameters, and without blanks, controls and dots at its ends.
    private static func folded(_ segment: ArraySlice<UInt8>) -> [UInt8] {
        var rest = segment.prefix { $0 != UInt8(ascii: ";") && $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
        func isBlank(_ byte: UInt8) -> Bool { byte <= 0x20 || byte == 0x7F }
        while let last = rest.last, isBlank(last) { rest.removeLast() }
        rest = rest.drop(while: isBlank)
        if rest.elementsEqual(dots) { return dots }
        while let last = rest.last, isBlank(last) || last == UInt8(ascii: ".") { rest.removeLast() }
        return lowercased(rest)
    }

    /// ASCII in lower case, with the two letters beyond it whose lower or upper case is in ASCII: U+017F and U+212A.
    private static func lowercased(_ segment: ArraySlice<UInt8>) -> [UInt8] {
        guard segment.contains(where: { $0 >= 0x80 }) else {
            return segment.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
        }
        var text: [UInt8] = []
        for scalar in String(decoding: segment, as: UTF8.self).unicodeScalars {
            switch scalar {
            case "A"..."Z": text.append(UInt8(truncatingIfNeeded: scalar.value) | 0x20)
            case "\u{17F}": text.append(UInt8(ascii: "s"))
            case "\u{212A}": text.append(UInt8(ascii: "k"))
            default: text += Array(String(scalar).utf8)
            }
        }
        return text
    }

    /// True when an app could take this path for `other`: the same segments at the end, the last one perhaps with an
    /// extension. After the name of a script (a last segment with a dot) more may follow, as CGI's `PATH_INFO` allows.
    func mayPass(for other: FoldedPath) -> Bool {
        guard isStable else { return true }
        if let folder = other.folder, contains(folder) { return true }
        if let folder, Self(folder: folder).mayPass(for: other) { return true }
        guard let last = other.segments.last else { return segments.isEmpty }
        let isScript = last.contains(UInt8(ascii: "."))
        let count = other.segments.count
        guard segments.count >= count else { return false }
        let starts = isScript ? 0...(segments.count - count) : (segments.count - count)...(segments.count - count)
        return starts.contains { start in
            segments[start..<(start + count - 1)].elementsEqual(other.segments.dropLast())
                && Self.isSame(segments[start + count - 1], last)
        }
    }

    /// The folder of an index file; nil for any other file, and for the root's.
    private var folder: ArraySlice<[UInt8]>? {
        guard segments.count > 1, let last = segments.last else { return nil }
        return last.starts(with: "index.".utf8) || last.starts(with: "default.".utf8) ? segments.dropLast() : nil
    }

    private func contains(_ part: ArraySlice<[UInt8]>) -> Bool {
        guard segments.count >= part.count else { return false }
        return (0...(segments.count - part.count)).contains { segments[$0..<($0 + part.count)].elementsEqual(part) }
    }

    /// Whether both are the same name, either of them perhaps with an extension.
    private static func isSame(_ segment: [UInt8], _ wanted: [UInt8]) -> Bool {
        extends(segment, wanted) || wanted.contains(UInt8(ascii: ".")) && extends(wanted, segment)
    }

    private static func extends(_ long: [UInt8], _ short: [UInt8]) -> Bool {
        long.starts(with: short) && (long.count == short.count || long[short.count] == UInt8(ascii: "."))
    }
}
