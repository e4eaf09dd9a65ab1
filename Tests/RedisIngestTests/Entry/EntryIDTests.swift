import Testing

@testable import RedisIngest

@Suite("Ids of entries")
struct EntryIDTests {
    @Test("An id is read as it is written")
    func reading() {
        #expect(EntryID("1700000000000-0") == EntryID(1_700_000_000_000, 0))
        #expect(EntryID("18446744073709551615-18446744073709551615") == EntryID(.max, .max))
        #expect(EntryID(7, 3).description == "7-3")
    }

    @Test(
        "Anything else is no id",
        arguments: ["", "-", "1", "1-", "-1", "1-2-3", "a-1", "1-a", "18446744073709551616-0", "1--1", "$", ">"]
    )
    func others(_ text: String) { #expect(EntryID(text) == nil) }

    @Test("Ids are in the order of their times, then of their numbers")
    func order() {
        #expect(EntryID(1, 9) < EntryID(2, 0))
        #expect(EntryID(2, 9) < EntryID(2, 10))
    }

    @Test("The id before an id is the nearest smaller one")
    func predecessor() {
        #expect(EntryID(5, 1).predecessor == EntryID(5, 0))
        #expect(EntryID(5, 0).predecessor == EntryID(4, .max))
        #expect(EntryID.zero.predecessor == .zero)
    }
}
