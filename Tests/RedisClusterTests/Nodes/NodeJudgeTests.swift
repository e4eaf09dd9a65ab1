import NIOCore
import SidecarCore
import Testing

@testable import RedisCluster

@Suite("Which nodes are lost")
struct NodeJudgeTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    private func judge() -> NodeJudge { NodeJudge(lease: .seconds(10), own: "me", name: "web-1") }

    private func records(_ counters: [String: UInt64], name: String = "web-2") -> [String: NodeRecord] {
        counters.mapValues { NodeRecord(info: .test(name), counter: $0) }
    }

    /// Looks once a second, and returns the last verdict.
    private func looks(
        _ judge: inout NodeJudge,
        _ records: [String: NodeRecord],
        _ seconds: ClosedRange<Int64>
    ) -> NodeJudge.Verdict {
        var verdict = NodeJudge.Verdict()
        for second in seconds { verdict = judge.saw(records, at: start + .seconds(second)) }
        return verdict
    }

    @Test("A node that has slept itself for half of the lease begins anew, since the others may have slept, too")
    func slept() {
        var judge = judge()
        let seen = records(["still": 7])
        #expect(looks(&judge, seen, 0...9) == .init())
        #expect(judge.saw(seen, at: start + .seconds(15)) == .init())
        #expect(looks(&judge, seen, 16...24) == .init())
        #expect(judge.saw(seen, at: start + .seconds(25)) == .init(lost: ["still"]))
        #expect(judge.nextVerdict(seen, at: start + .seconds(25)) == .zero)
    }

    @Test("A node whose counter has stood still for the lease is lost; one that counts is not")
    func lease() {
        var judge = judge()
        for second in Int64(0)..<10 {
            let seen = records(["me": 1, "still": 7, "counts": UInt64(second)])
            #expect(judge.saw(seen, at: start + .seconds(second)) == .init())
        }
        let seen = records(["me": 1, "still": 7, "counts": 9])
        #expect(judge.saw(seen, at: start + .seconds(10)) == .init(lost: ["still"]))
        #expect(looks(&judge, seen, 11...18) == .init(lost: ["still"]))
        #expect(judge.saw(seen, at: start + .milliseconds(18_999)) == .init(lost: ["still"]))
        #expect(judge.saw(seen, at: start + .seconds(19)) == .init(lost: ["counts", "still"]))
    }

    @Test("While this node's own link was down nothing counts: the time starts anew")
    func interrupted() {
        var judge = judge()
        let seen = records(["still": 7])
        _ = judge.saw(seen, at: start)
        judge.interrupted()
        #expect(looks(&judge, seen, 60...69) == .init())
        #expect(judge.saw(seen, at: start + .milliseconds(69_999)) == .init())
        #expect(judge.saw(seen, at: start + .seconds(70)) == .init(lost: ["still"]))
    }

    @Test("A node with a longer lease has it")
    func longerLease() {
        var judge = judge()
        let info = NodeInfo(
            name: "slow",
            version: "1",
            startedAt: 0,
            connections: 0,
            channels: 0,
            leaseMilliseconds: 20_000
        )
        let seen = ["slow": NodeRecord(info: info, counter: 1)]
        #expect(looks(&judge, seen, 0...19) == .init())
        #expect(judge.saw(seen, at: start + .seconds(20)) == .init(lost: ["slow"]))
    }

    @Test("A node that comes back under its incarnation begins anew")
    func returns() {
        var judge = judge()
        _ = judge.saw(records(["other": 1]), at: start)
        _ = judge.saw([:], at: start + .seconds(5))
        #expect(looks(&judge, records(["other": 1]), 6...15) == .init())
        #expect(judge.saw(records(["other": 1]), at: start + .seconds(16)) == .init(lost: ["other"]))
    }

    @Test("Two live nodes with one name are told once, after two leases; one that died is not")
    func namesakes() {
        var judge = judge()
        for second in Int64(0)..<20 {
            let seen = records(["twin": UInt64(second)], name: "web-1")
            #expect(judge.saw(seen, at: start + .seconds(second)) == .init())
        }
        let shared: Set = ["web-1"]
        let told = judge.saw(records(["twin": 20], name: "web-1"), at: start + .seconds(20))
        #expect(told == .init(namesakes: ["twin"], sharedNames: shared))
        let later = judge.saw(records(["twin": 21], name: "web-1"), at: start + .seconds(21))
        #expect(later == .init(sharedNames: shared))
    }

    @Test("Two other nodes with one name are noticed, too; one that was restarted is not")
    func otherNamesakes() {
        var judge = judge()
        for second in Int64(0)..<30 {
            var seen = records(["one": UInt64(second), "old": UInt64(min(second, 15))])
            if second > 15 { seen["new"] = records(["new": UInt64(second)])["new"] }
            seen["old"]?.info.name = "web-3"
            seen["new"]?.info.name = "web-3"
            if second > 25 { seen["old"] = nil }
            #expect(judge.saw(seen, at: start + .seconds(second)).sharedNames == [])
        }
        var verdict = NodeJudge.Verdict()
        for second in Int64(30)...60 {
            verdict = judge.saw(
                records(["one": UInt64(second), "two": UInt64(second)]),
                at: start + .seconds(second)
            )
        }
        #expect(verdict == .init(sharedNames: ["web-2"]))
    }

    @Test("A record is read as it was written; unknown keys are ignored, and one without a counter is none")
    func record() {
        let info = NodeInfo(
            name: "a\tb=c\n",
            version: "1.2",
            startedAt: 5,
            connections: 6,
            channels: 7,
            leaseMilliseconds: 8
        )
        let read = NodeRecord(NodeRecord(info: info, counter: .max).text + "\tfuture=1\tx")
        #expect(read?.counter == .max && read?.info.name == "a b=c " && read?.info.connections == 6)
        #expect(read?.info.startedAt == 5 && read?.info.channels == 7 && read?.info.leaseMilliseconds == 8)
        for text in ["", "name=x", "counter=", "counter=-1", "counter=x", "\u{0}"] { #expect(NodeRecord(text) == nil) }
        #expect(NodeRecord("counter=1\tlease=9223372036854775807")?.info.leaseMilliseconds == 3_600_000)
        #expect(NodeRecord("counter=1\tstarted=-5")?.info.startedAt == 0)
        #expect(NodeRecord("counter=1\tconnections=99999999999999999999")?.info.connections == 0)
    }
}
