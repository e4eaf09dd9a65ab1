/// A file of the settings that cannot be used.
public struct FileFault: Error, Sendable, CustomStringConvertible {
    /// The variable without prefix.
    public let variable: String
    /// What it says.
    public let path: String
    /// Why it cannot be used.
    public let reason: String
    /// What would be accepted.
    public let accepted: String

    /// As a line for people.
    public var description: String {
        "SIDESOCKET_\(variable)=\"\(path)\": cannot be used: \(reason). Accepted: \(accepted)"
    }
}
