/// Reads a settings file; the first character tells JSON from YAML.
enum SettingsFile {
    static func read(_ bytes: [UInt8]) -> FlatDocument {
        var bytes = bytes[...]
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes = bytes.dropFirst(3) }
        guard String(validating: bytes, as: UTF8.self) != nil else {
            return FlatDocument(faults: [.init(line: 1, problem: "the file is not text in UTF-8", accepted: "UTF-8")])
        }
        let first = bytes.first { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }
        return first == UInt8(ascii: "{") ? FlatJSON.read(bytes) : FlatYAML.read(bytes)
    }
}
