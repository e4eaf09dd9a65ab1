/// Why a text of a setting is no network, no list of proxies or no origin.
public struct AdmissionSyntaxFault: Error, Equatable, Sendable, CustomStringConvertible {
    /// Words that follow the variable's name and say what is wrong; values in them are escaped and shortened.
    public let problem: String

    init(_ problem: String) {
        self.problem = problem
    }

    init(in item: some StringProtocol, _ problem: String) {
        self.problem = "in \(FaultText.quoted(String(item))): \(problem)"
    }

    /// The same as ``problem``.
    public var description: String { problem }
}
