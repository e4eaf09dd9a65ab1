internal import HTTPTypes
internal import Hummingbird

/// An error answer in the form of RFC 9457, problem details.
struct Problem: ResponseEncodable {
    let status: HTTPResponse.Status
    /// One plain sentence of ours, without anything from the request.
    let detail: String
    let headers: HTTPFields

    init(_ status: HTTPResponse.Status, detail: String, headers: HTTPFields = [:]) {
        self.status = status
        self.detail = detail
        self.headers = headers
    }

    private enum CodingKeys: CodingKey {
        case type, title, status, detail
    }

    func encode(to encoder: any Encoder) throws {
        var members = encoder.container(keyedBy: CodingKeys.self)
        try members.encode("about:blank", forKey: .type)
        try members.encode(status.reasonPhrase, forKey: .title)
        try members.encode(status.code, forKey: .status)
        try members.encode(detail, forKey: .detail)
    }

    func response(from request: Request, context: some RequestContext) throws -> Response {
        var response = try context.responseEncoder.encode(self, from: request, context: context)
        response.status = status
        response.headers[.contentType] = "application/problem+json"
        response.headers.append(contentsOf: headers)
        return response
    }
}
