/// One variable's text as it was written, not parsed yet.
public struct SettingValue: Sendable, Equatable {
    /// The name in the registry, without prefix.
    public let name: String
    /// What was written; the items of a list joined by commas.
    public let text: String
    /// Whether a file gave a list.
    public let isList: Bool
    /// Where it was written.
    public let origin: SettingOrigin
    /// The name as it was written there.
    public let writtenName: String

    /// The name and where it was written, for a message to the user.
    public var location: String {
        switch origin {
        case .file(let path, let line): "\(writtenName) (\(path), line \(line))"
        case .environment, .flag: writtenName
        }
    }
}
