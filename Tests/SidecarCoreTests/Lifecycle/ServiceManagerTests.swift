import NIOCore
import Testing

@testable import SidecarCore

@Suite("Service manager")
struct ServiceManagerTests {
    private func manager(_ environment: [String: String]) -> ServiceManager? {
        ServiceManager(environment, processID: 42)
    }

    @Test("There is none without its socket")
    func none() {
        #expect(manager([:]) == nil)
        #expect(manager(["NOTIFY_SOCKET": ""]) == nil)
        #expect(manager(["WATCHDOG_USEC": "1000000"]) == nil)
    }

    @Test("Its socket is a path or an abstract name, and anything else a fault")
    func sockets() {
        #expect(manager(["NOTIFY_SOCKET": "/run/x"])?.socketName == Array("/run/x".utf8))
        #expect(manager(["NOTIFY_SOCKET": "@x"])?.socketName == [0, UInt8(ascii: "x")])
        let name = "@" + String(repeating: "x", count: 106)
        #expect(manager(["NOTIFY_SOCKET": name])?.faults == [])
        for odd in ["@", "x", "vsock:2:1", "./x", name + "x", "/" + name] {
            let odd = manager(["NOTIFY_SOCKET": odd])
            #expect(odd?.socketName == [] && odd?.faults.count == 1)
        }
    }

    @Test(
        "The watchdog is fed twice in its time, if it is ours",
        arguments: [
            ("30000000", nil, 15_000_000), ("30000000", "42", 15_000_000), ("30000000", "43", nil),
            ("30000000", "", nil), ("1", nil, 1_000), ("2000", nil, 1_000), ("2002", nil, 1_001),
            ("9223372036854775807", nil, 86_400_000_000),
        ] as [(String, String?, Int64?)]
    )
    func watchdog(time: String, process: String?, microseconds: Int64?) {
        var environment = ["NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": time]
        environment["WATCHDOG_PID"] = process
        #expect(manager(environment)?.watchdogInterval == microseconds.map { .microseconds($0) })
        #expect(manager(environment)?.faults == [])
    }

    @Test("A time that is none is a fault", arguments: ["0", "-1", "", "x", "9223372036854775808", "1.5"])
    func oddTimes(time: String) {
        let odd = manager(["NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": time])
        #expect(odd?.watchdogInterval == nil && odd?.faults.count == 1)
        #expect(odd?.socketName == Array("/x".utf8))
    }

    @Test("States come in their order, and none after the end")
    func report() {
        var report = ServiceReport()
        #expect(report.reloading(at: 1, "r") == nil)
        #expect(report.reloaded("s") == nil)
        #expect(report.ready("on 0.0.0.0:80\nREADY=0") == "READY=1\nSTATUS=on 0.0.0.0:80 READY=0")
        #expect(report.ready("s") == nil)
        #expect(report.reloading(at: 123, "r") == "RELOADING=1\nMONOTONIC_USEC=123\nSTATUS=r")
        #expect(report.reloaded("s") == "READY=1\nSTATUS=s")
        #expect(report.reloaded("s") == nil)
        #expect(report.reloading(at: 124, "r") != nil)
        #expect(report.stopping("d") == "STOPPING=1\nSTATUS=d")
        #expect(report.stopping("d") == nil)
        #expect(report.reloaded("s") == nil)
        #expect(report.reloading(at: 125, "r") == nil)
        #expect(report.ready("s") == nil)
    }
}
