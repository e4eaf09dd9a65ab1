import Testing

@testable import SidecarCore

@Suite("Environment files")
struct EnvironmentFileTests {
    private func read(_ text: String) -> EnvironmentFile { EnvironmentFile(Array(text.utf8)) }

    private func isName(_ text: String) -> Bool {
        text.first?.isNumber == false && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
    }

    @Test(
        "A value is what systemd takes it for",
        arguments: [
            ("A=b", "b"), ("A=b\n", "b"), ("A=b\r\n", "b"), ("  A=b", "b"), ("A =b", "b"), ("A=  b  ", "b"), ("A=", ""),
            ("A=b c", "b c"), ("A=b=c", "b=c"), ("A=b#c", "b#c"), ("A=b # c", "b # c"), ("A=b;c", "b;c"),
            ("A='b c '", "b c "), ("A=\"b c \"", "b c "), ("A=''", ""), ("A='b\nc'", "b\nc"), ("A=\"b\nc\"", "b\nc"),
            (#"A='b\nc'"#, #"b\nc"#), (#"A="b\"c""#, #"b"c"#), (#"A="b\\c""#, #"b\c"#), (#"A="b\nc""#, #"b\nc"#),
            (#"A="b\$c""#, "b$c"), ("A=\"b\\\nc\"", "bc"), ("A=b\\\nc", "bc"), (#"A=b\c"#, "bc"), (#"A=b\ "#, "b "),
            (#"A=b\"#, "b"), ("A='b'c", "bc"), ("A='b' \"c\"", "bc"), ("A=b'c'", "b'c'"), ("A=$HOME", "$HOME"),
            ("A=1\nA=2", "2"), ("# x\n; y\n\nA=b", "b"), ("# x \\\nA=c\nA=b", "b"), ("A=wäh", "wäh"),
        ]
    )
    func values(text: String, value: String) {
        #expect(read(text).variables == ["A": value])
        #expect(read(text).faults == [])
    }

    @Test(
        "What is no variable says nothing",
        arguments: ["", "\n\n", "#A=b", ";A=b", "A", "1A=b", "A B=c", "export A=b", "=b"]
    )
    func nothing(text: String) {
        #expect(read(text).variables == [:])
        #expect(read(text).faults == [])
    }

    @Test(
        "A line about a setting that says nothing is a fault",
        arguments: [
            "export SIDESOCKET_THREADS=1", "SIDESOCKET_THREADS", "SIDESOCKET_THREADS: 1", "SIDESOCKET_THREADS='1",
            "SIDESOCKET_THREADS=\"1\\", "SIDESOCKET_THREADS=\0",
        ]
    )
    func faults(text: String) {
        let file = read("A=1\n\n\(text)")
        #expect(file.faults.map(\.line) == [3])
        #expect(file.variables == ["A": "1"])
        #expect(file.faults.allSatisfy { !$0.problem.contains("THREADS") })
    }

    @Test("Of any bytes come variables with a name and a text, and faults of lines that there are")
    func anyBytes() {
        var state: UInt32 = 7
        let alphabet = Array("A='\"\\\n#; SIDESOCKET_".utf8) + [0, 0xFF]
        for length in 0..<400 {
            let bytes = (0..<length).map { _ in
                state = state &* 1_664_525 &+ 1_013_904_223
                return alphabet[Int(state >> 16) % alphabet.count]
            }
            let file = EnvironmentFile(bytes)
            let lines = bytes.count(where: { $0 == UInt8(ascii: "\n") }) + 1
            #expect(file.variables.allSatisfy { isName($0.key) && !$0.value.utf8.contains(0) }, "\(bytes)")
            #expect(file.faults.allSatisfy { (1...lines).contains($0.line) }, "\(bytes)")
        }
    }

    @Test("Its settings count as those of the environment, and its faults are listed with the others")
    func settings() {
        var raw = RawSettings()
        raw.add(
            environmentFile: Array(
                "SIDESOCKET_APP_URL=http://app\nSIDESOCKET_THREADS 3\nSIDESOCKET_TREADS=3\nX=1".utf8
            ),
            path: "/etc/x"
        )
        #expect(raw.values.map(\.writtenName) == ["SIDESOCKET_APP_URL"])
        let faults = raw.faults.map(\.description)
        #expect(faults.count == 2)
        #expect(faults.first?.hasPrefix("/etc/x, line 2: ") == true)
        #expect(faults.last?.hasPrefix("SIDESOCKET_TREADS: unknown setting") == true)
    }
}
