/// The first digit of a status (RFC 9110 section 15), the `code_class` label of `proxy_requests_total`.
enum StatusClass: String, CaseIterable {
    case informational = "1xx"
    case successful = "2xx"
    case redirection = "3xx"
    case clientError = "4xx"
    case serverError = "5xx"

    /// Nil for a status that has no class.
    init?(status: Int) {
        switch status {
        case 100...199: self = .informational
        case 200...299: self = .successful
        case 300...399: self = .redirection
        case 400...499: self = .clientError
        case 500...599: self = .serverError
        default: return nil
        }
    }
}
