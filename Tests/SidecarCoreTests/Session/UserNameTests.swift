import SidecarCore
import Testing

@Suite("Names of users")
struct UserNameTests {
    @Test("Names are the same when their bytes are")
    func bytes() {
        let composed: UserName = "\u{E9}"
        let decomposed: UserName = "e\u{301}"
        #expect(composed.text == decomposed.text, "Swift takes the texts for the same")
        #expect(composed != decomposed)
        #expect(Set([composed, decomposed, UserName("\u{E9}")]).count == 2)
        #expect(BanSubject.user(composed) != BanSubject.user(decomposed))
        #expect([composed, decomposed].sorted() == [decomposed, composed])
        #expect(UserName("").isEmpty && "\(composed)" == "\u{E9}")
    }
}
