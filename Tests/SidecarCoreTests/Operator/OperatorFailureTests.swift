import SidecarCore
import Testing

@Suite("Why an operator's call fails")
struct OperatorFailureTests {
    @Test("What a broker cannot do is a failure of the call, without what only the log is to know")
    func broker() {
        #expect(OperatorFailure(ChannelFailure.unknownChannel) == .noChannel)
        #expect(OperatorFailure(ChannelFailure.gone) == .historyGone)
        #expect(
            OperatorFailure(ChannelFailure.unavailable("10.0.0.1:6379: refused"))
                == .unavailable("Channels cannot be reached.")
        )
    }
}
