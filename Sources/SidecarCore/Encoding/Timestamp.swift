public import NIOCore

/// Writes points in time as RFC 3339 with milliseconds in UTC, the form of the CloudEvents attribute `time`.
public enum Timestamp {
    /// The length of a timestamp, in bytes.
    static let byteCount = 24

    /// Appends `2026-11-23T10:00:00.123Z`.
    ///
    /// - Parameter unixMilliseconds: Milliseconds since 1970-01-01T00:00:00Z; years outside 0–9999 are clamped.
    public static func write(unixMilliseconds: Int64, into buffer: inout ByteBuffer) {
        buffer.writeText(measure: byteCount) { write(unixMilliseconds: unixMilliseconds, with: &$0) }
    }

    /// The same with a writer.
    static func write(unixMilliseconds: Int64, with writer: inout TextWriter) {
        let clamped = min(max(unixMilliseconds, -62_167_219_200_000), 253_402_300_799_999)
        let days = clamped >= 0 ? clamped / 86_400_000 : -((86_399_999 - clamped) / 86_400_000)
        let inDay = clamped - days * 86_400_000
        let (year, month, day) = civil(fromDays: days)
        writer.write(byteCount: byteCount) { out in
            func put(_ value: Int64, at offset: Int) {
                let value = UInt32(truncatingIfNeeded: value)
                out[offset] = UInt8(truncatingIfNeeded: 48 + value / 10)
                out[offset + 1] = UInt8(truncatingIfNeeded: 48 + value % 10)
            }
            let milliseconds = inDay % 1_000
            let seconds = inDay / 1_000
            put(year / 100, at: 0)
            put(year % 100, at: 2)
            put(month, at: 5)
            put(day, at: 8)
            put(seconds / 3_600, at: 11)
            put(seconds / 60 % 60, at: 14)
            put(seconds % 60, at: 17)
            put(milliseconds / 10, at: 20)
            out[22] = UInt8(truncatingIfNeeded: 48 + milliseconds % 10)
            out[4] = UInt8(ascii: "-")
            out[7] = UInt8(ascii: "-")
            out[10] = UInt8(ascii: "T")
            out[13] = UInt8(ascii: ":")
            out[16] = UInt8(ascii: ":")
            out[19] = UInt8(ascii: ".")
            out[23] = UInt8(ascii: "Z")
        }
    }

    /// The Gregorian date of a day number (0 is 1970-01-01), counting years from March so that leap days come last.
    static func civil(fromDays days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }
}
