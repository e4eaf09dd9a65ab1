internal import HTTPTypes
internal import SidecarCore

/// Why a request to the API is not carried out.
struct APIFault: Error {
    let status: HTTPResponse.Status
    /// One plain sentence of ours, without anything from the request.
    let detail: String
    let outcome: AuditRecord.Outcome
    /// Seconds for `Retry-After`, if any.
    let retryAfter: Int?

    static let tooLarge = APIFault(status: .contentTooLarge, detail: "The body is too large.", outcome: .badRequest)

    static func badRequest(_ detail: String) -> APIFault {
        APIFault(status: .badRequest, detail: detail, outcome: .badRequest)
    }

    init(status: HTTPResponse.Status, detail: String, outcome: AuditRecord.Outcome = .notFound, retryAfter: Int? = nil)
    {
        self.status = status
        self.detail = detail
        self.outcome = outcome
        self.retryAfter = retryAfter
    }

    /// What an error has to say to the caller; nil for one that only we are to know.
    init?(_ error: any Error) {
        switch error {
        case let fault as APIFault: self = fault
        case let failure as OperatorFailure: self.init(failure)
        case let fault as BodyFault: self.init(fault)
        case let fault as BatchFault: self = .badRequest(fault.sentence)
        default: return nil
        }
    }

    var problem: Problem {
        Problem(status, detail: detail, headers: retryAfter.map { [.retryAfter: "\($0)"] } ?? [:])
    }
}

extension APIFault {
    /// A body that is of no use.
    init(_ fault: BodyFault) {
        let status: HTTPResponse.Status = fault.isOfType ? .unsupportedMediaType : .badRequest
        self.init(status: status, detail: fault.sentence, outcome: .badRequest)
    }

    /// A call that could not be carried out.
    init(_ failure: OperatorFailure) {
        switch failure {
        case .noConnection: self.init(status: .notFound, detail: "There is no such connection.")
        case .noChannel: self.init(status: .notFound, detail: "There is no such channel, or it has no history.")
        case .historyGone: self.init(status: .gone, detail: "These messages are no longer kept.")
        case .noBan: self.init(status: .notFound, detail: "There is no such ban.")
        case .tooManyChannels:
            self.init(status: .conflict, detail: "The connection is in as many channels as allowed.")
        case .bansFull:
            self.init(
                status: .init(code: 507, reasonPhrase: "Insufficient Storage"),
                detail: "There are too many bans.",
                outcome: .refused
            )
        case .refused(let why): self.init(status: .unprocessableContent, detail: why, outcome: .badRequest)
        case .unavailable(let what):
            self.init(status: .serviceUnavailable, detail: what, outcome: .refused, retryAfter: 1)
        }
    }
}
