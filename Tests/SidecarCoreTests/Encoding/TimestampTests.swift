import NIOCore
import Testing

@testable import SidecarCore

@Suite("Event time")
struct TimestampTests {
    private func text(_ milliseconds: Int64) -> String {
        var buffer = ByteBuffer()
        Timestamp.write(unixMilliseconds: milliseconds, into: &buffer)
        return String(buffer: buffer)
    }

    @Test(
        "Known moments are written as RFC 3339 with milliseconds in UTC",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (-86_400_000, "1969-12-31T00:00:00.000Z"),
            (-86_400_001, "1969-12-30T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_000_000_000_000, "2001-09-09T01:46:40.000Z"),
            (1_795_428_000_123, "2026-11-23T10:00:00.123Z"),
            (2_147_483_648_000, "2038-01-19T03:14:08.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (-2_203_891_200_000, "1900-03-01T00:00:00.000Z"),
            (-2_203_891_200_001, "1900-02-28T23:59:59.999Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (-62_167_219_200_000, "0000-01-01T00:00:00.000Z"),
        ] as [(Int64, String)]
    )
    func known(milliseconds: Int64, expected: String) {
        #expect(text(milliseconds) == expected)
    }

    @Test("Years that four digits cannot hold are clamped")
    func clamped() {
        for milliseconds in [253_402_300_800_000, Int64.max] {
            #expect(text(milliseconds) == "9999-12-31T23:59:59.999Z")
        }
        for milliseconds in [-62_167_219_200_001, Int64.min] {
            #expect(text(milliseconds) == "0000-01-01T00:00:00.000Z")
        }
    }

    @Test("Every day of two and a half centuries follows the one before it")
    func everyDay() {
        let lengths: [Int64] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        // 1890-01-01
        var (year, month, day): (Int64, Int64, Int64) = (1890, 1, 1)
        for number in Int64(-29_219)..<62_000 {
            let date = Timestamp.civil(fromDays: number)
            if date != (year, month, day) {
                Issue.record("day \(number) is \(date), not \((year, month, day))")
                return
            }
            day += 1
            let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
            if day > lengths[Int(month) - 1] + (isLeap && month == 2 ? 1 : 0) { (month, day) = (month + 1, 1) }
            if month > 12 { (year, month) = (year + 1, 1) }
        }
    }

    @Test("The time is appended to what the buffer holds, also to a full one")
    func appended() {
        var buffer = ByteBufferAllocator().buffer(capacity: 4)
        buffer.writeString("abcd")
        Timestamp.write(unixMilliseconds: 0, into: &buffer)
        Timestamp.write(unixMilliseconds: 0, into: &buffer)
        #expect(String(buffer: buffer) == "abcd1970-01-01T00:00:00.000Z1970-01-01T00:00:00.000Z")
    }
}
