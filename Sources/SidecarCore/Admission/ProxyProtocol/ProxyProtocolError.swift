/// Why a connection does not begin with a valid PROXY header; it is then closed without an answer.
public enum ProxyProtocolError: Error, Sendable, Equatable, CaseIterable {
    /// The first bytes are no signature of an accepted version: most often a client that comes past the proxy.
    case noSignature
    /// No CRLF within the 107 bytes that a version 1 line may have, or a line feed or carriage return by itself.
    case invalidLineEnd
    /// A version 1 line that is not of the form `PROXY TCP4 SOURCE DESTINATION PORT PORT`.
    case invalidLine
    /// The binary signature with another version than 2.
    case unsupportedVersion
    /// A version 2 command that is neither LOCAL nor PROXY.
    case unknownCommand
    /// A version 2 address family or transport protocol that the specification has not.
    case unknownFamily
    /// A version 2 address block that is too short for its family.
    case addressBlockTooShort
    /// A version 2 header longer than ``ProxyProtocolDecoder/longestHeader``.
    case headerTooLong

    /// One plain sentence for the log; it repeats nothing that the peer sent.
    public var sentence: String {
        switch self {
        case .noSignature: "The connection does not begin with a PROXY header of an accepted version."
        case .invalidLineEnd: "The PROXY line does not end with CRLF within 107 bytes."
        case .invalidLine: "The PROXY line is malformed."
        case .unsupportedVersion: "The binary PROXY header has another version than 2."
        case .unknownCommand: "The binary PROXY header has an unknown command."
        case .unknownFamily: "The binary PROXY header has an unknown address family or protocol."
        case .addressBlockTooShort: "The binary PROXY header is too short for its addresses."
        case .headerTooLong: "The binary PROXY header is too long."
        }
    }
}
