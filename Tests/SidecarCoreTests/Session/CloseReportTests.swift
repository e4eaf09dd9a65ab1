import FoundationEssentials
import NIOCore
import SidecarCore
import Testing

@Suite("Close report")
struct CloseReportTests {
    private struct Read: Decodable, Equatable {
        var code: Int
        var reason: String
        var initiator: String
        var messagesIn: Int
        var messagesOut: Int
        var durationMs: Int64
    }

    private func report(
        _ reason: String = "",
        code: UInt16 = 1006,
        messages: Int = 0,
        duration: Int64 = 0
    ) -> CloseReport {
        CloseReport(
            code: SessionCloseCode(rawValue: code),
            reason: reason,
            initiator: .network,
            messagesIn: messages,
            messagesOut: messages,
            durationMilliseconds: duration
        )
    }

    private func read(_ report: CloseReport) throws -> Read {
        try JSONDecoder().decode(Read.self, from: Data(report.json.readableBytesView))
    }

    @Test("The report is the JSON of the contract")
    func contract() {
        #expect(
            String(buffer: report().json)
                == #"{"code":1006,"reason":"","initiator":"network","messagesIn":0,"messagesOut":0,"durationMs":0}"#
        )
    }

    @Test("Any reason is read back from the JSON, and no control character stands in it (abuse case 41)")
    func reasons() throws {
        let controls = (UInt8(0)...0x7F).map { String(Unicode.Scalar($0)) }
        let others = [
            "é\u{301}", "😀", "\u{2028}\u{2029}\u{FEFF}\u{FFFD}", "\r\n\u{1B}[31m", #"","code":1"#, #"\u0000"#,
        ]
        for reason in controls + others + [controls.joined() + others.joined()] {
            let report = report(reason)
            #expect(try read(report).reason == reason)
            #expect(report.json.readableBytesView.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
        }
    }

    @Test("Numbers of every size are written, and none is negative")
    func numbers() throws {
        let largest = try read(report(code: .max, messages: .max, duration: .max))
        #expect(largest.code == 65_535 && largest.messagesIn == .max && largest.durationMs == .max)
        let negative = try read(report(code: 0, messages: -1, duration: .min))
        #expect(negative.code == 0 && negative.messagesIn == 0 && negative.durationMs == 0)
    }

    @Test("Each initiator is named as in the contract")
    func initiators() {
        #expect([CloseInitiator.client, .server, .network].map(\.rawValue) == ["client", "server", "network"])
    }
}
