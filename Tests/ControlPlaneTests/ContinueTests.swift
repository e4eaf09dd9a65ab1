import HTTPTypes
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Testing

@testable import ControlPlane

@Suite("Expect: 100-continue")
struct ContinueTests {
    @Test("The client is told once, when its body is wanted")
    func wanted() {
        var expected = ExpectedContinue()
        expected.requestBegan(expectsContinue: true)
        #expect(expected.bodyWanted() == true)
        #expect(expected.bodyWanted() == false)
        expected.bodyCame()
        #expect(expected.answered() == false)
        expected.requestBegan(expectsContinue: true)
        #expect(expected.bodyWanted() == true)
    }

    @Test("It is not told when it did not ask, when its body has come, or when it was refused without")
    func unwanted() {
        var expected = ExpectedContinue()
        expected.requestBegan(expectsContinue: false)
        #expect(expected.bodyWanted() == false)
        _ = expected.answered()
        expected.requestBegan(expectsContinue: true)
        expected.bodyCame()
        #expect(expected.bodyWanted() == false)
        _ = expected.answered()
        expected.requestBegan(expectsContinue: true)
        #expect(expected.answered() == false)
        #expect(expected.bodyWanted() == false)
    }

    @Test("It is told behind the answers to its requests before")
    func order() {
        var expected = ExpectedContinue()
        expected.requestBegan(expectsContinue: false)
        expected.bodyCame()
        expected.requestBegan(expectsContinue: true)
        #expect(expected.bodyWanted() == false)
        #expect(expected.answered() == true)
        #expect(expected.answered() == false)
    }

    @Test("The handler writes the interim answer in its place")
    func handler() throws {
        let channel = EmbeddedChannel(handler: ContinueHandler())
        defer { _ = try? channel.finish() }
        var head = HTTPRequest(method: .post, scheme: "http", authority: "a", path: "/")
        head.headerFields[.expect] = "100-Continue"
        try channel.writeInbound(HTTPRequestPart.head(head))
        #expect(try channel.readOutbound(as: HTTPResponsePart.self) == nil)
        channel.triggerUserOutboundEvent(BodyWanted(), promise: nil)
        #expect(try channel.readOutbound(as: HTTPResponsePart.self) == .head(HTTPResponse(status: .continue)))
        #expect(try channel.readOutbound(as: HTTPResponsePart.self) == nil)
    }
}
