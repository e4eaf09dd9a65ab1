/// Reads the numbers of a RESP line.
enum RESPNumber {
    /// A signed number of 64 bits; nil for anything else, also beyond them.
    static func integer(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Int64? {
        var index = range.lowerBound
        guard index < range.upperBound else { return nil }
        let isNegative = bytes[index] == UInt8(ascii: "-")
        if isNegative || bytes[index] == UInt8(ascii: "+") { index += 1 }
        guard index < range.upperBound else { return nil }
        var number: Int64 = 0
        while index < range.upperBound {
            guard let digit = digit(bytes[index]) else { return nil }
            // Negative all along, because the lowest number has no positive counterpart.
            let (tens, overflows) = number.multipliedReportingOverflow(by: 10)
            let (sum, passes) = tens.subtractingReportingOverflow(Int64(digit))
            if overflows || passes { return nil }
            number = sum
            index += 1
        }
        if isNegative { return number }
        return number == .min ? nil : -number
    }

    /// A floating-point number as Redis writes it; nil for anything else, such as a hexadecimal one.
    static func double(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Double? {
        var text = ""
        for index in range { text.unicodeScalars.append(Unicode.Scalar(bytes[index])) }
        switch text {
        case "inf", "+inf": return .infinity
        case "-inf": return -.infinity
        case "nan", "-nan": return .nan
        default: break
        }
        guard text.utf8.allSatisfy({ digit($0) != nil || ".+-eE".utf8.contains($0) }) else { return nil }
        return Double(text)
    }

    /// Says whether it is a whole number of any size.
    static func isWhole(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Bool {
        var index = range.lowerBound
        guard index < range.upperBound else { return false }
        if bytes[index] == UInt8(ascii: "-") || bytes[index] == UInt8(ascii: "+") { index += 1 }
        guard index < range.upperBound else { return false }
        for position in index..<range.upperBound where digit(bytes[position]) == nil { return false }
        return true
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        byte >= 0x30 && byte <= 0x39 ? byte &- 0x30 : nil
    }
}
