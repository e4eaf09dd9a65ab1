import Testing

@testable import ControlPlane

@Suite("Choice of the metrics format")
struct MetricsFormatTests {
    @Test(
        "Text unless OpenMetrics is named",
        arguments: [nil, "", "*/*", "text/plain", "application/json", ",;,=;q=", "application/*", "text/html;q=x"]
    )
    func text(accept: String?) {
        #expect(MetricsFormat.negotiate(accept: accept) == .text)
    }

    @Test(
        "OpenMetrics when named and liked no less than text",
        arguments: [
            "application/openmetrics-text",
            " Application/OpenMetrics-Text ; version=1.0.0 ; charset=utf-8",
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
                + "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "text/plain;q=0.5, application/openmetrics-text; version=1.0.0; escaping=allow-utf-8;q=0.6",
            "application/openmetrics-text;q=9",
            "application/openmetrics-text;q=nan",
        ]
    )
    func openMetrics(accept: String) {
        #expect(MetricsFormat.negotiate(accept: accept) == .openMetrics)
    }

    @Test(
        "Text when OpenMetrics is unwanted, less liked, or wanted in a version that isn't ours",
        arguments: [
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=-1",
            "text/plain, application/openmetrics-text;q=0.9",
            "application/openmetrics-text;version=2.0.0",
        ]
    )
    func refused(accept: String) {
        #expect(MetricsFormat.negotiate(accept: accept) == .text)
    }

    @Test("Addresses read as settings write them")
    func addresses() {
        #expect(ControlAddress.tcp(host: "127.0.0.1", port: 1).description == "127.0.0.1:1")
        #expect(ControlAddress.tcp(host: "::1", port: 1).description == "[::1]:1")
        #expect(ControlAddress.unix(path: "/a").description == "unix:/a")
    }
}
