internal import HTTPTypes
internal import Hummingbird
internal import Logging
internal import NIOCore

/// An error answer in the form of RFC 9457, problem details.
enum Problem {
    /// - Parameters:
    ///   - detail: one plain sentence of ours, without anything from the request.
    static func response(_ status: HTTPResponse.Status, detail: String, headers: HTTPFields = [:]) -> Response {
        var headers = headers
        headers[.contentType] = "application/problem+json"
        headers[.cacheControl] = "no-store"
        // Status phrases and details are constants of this program, so there is nothing to escape.
        let json = """
            {"type":"about:blank","title":"\(status.reasonPhrase)","status":\(status.code),"detail":"\(detail)"}

            """
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: json)))
    }
}

/// An error that says what it answers.
protocol ProblemError: Error {
    var status: HTTPResponse.Status { get }
    var detail: String { get }
    /// Seconds for `Retry-After`, if any.
    var retryAfter: Int? { get }
}

/// Turns whatever the router or a handler could not answer into problem details.
struct ProblemMiddleware: RouterMiddleware {
    typealias Context = ControlContext

    /// The methods of every path there is; a part in braces stands for any.
    let allowedMethods: [(path: String, methods: [HTTPRequest.Method])]
    let logger: Logger

    func handle(
        _ request: Request,
        context: Context,
        next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let error as HTTPError where error.status == .notFound {
            return self.unknown(request)
        } catch let error as any ProblemError {
            let headers: HTTPFields = error.retryAfter.map { [.retryAfter: "\($0)"] } ?? [:]
            return Problem.response(error.status, detail: error.detail, headers: headers)
        } catch let error as any HTTPResponseError {
            return Problem.response(error.status, detail: "The request could not be answered.")
        } catch {
            self.logger.error("control request failed", metadata: ["error": "\(error)"])
            return Problem.response(.internalServerError, detail: "The request failed because of an internal error.")
        }
    }

    private static func parts(_ path: String) -> [Substring] {
        path.split(separator: "/", omittingEmptySubsequences: false)
    }

    private static func matches(_ pattern: [Substring], _ parts: [Substring]) -> Bool {
        pattern.count == parts.count && zip(pattern, parts).allSatisfy { $0 == $1 || $0.hasPrefix("{") && !$1.isEmpty }
    }

    /// The router takes a known path with another method for an unknown one; HTTP doesn't.
    private func unknown(_ request: Request) -> Response {
        let parts = Self.parts(request.uri.path)
        guard let methods = self.allowedMethods.first(where: { Self.matches(Self.parts($0.path), parts) })?.methods
        else {
            return Problem.response(.notFound, detail: "There is nothing at this path.")
        }
        let allow = methods.map(\.rawValue).joined(separator: ", ")
        return Problem.response(
            .methodNotAllowed,
            detail: "This path supports only \(allow).",
            headers: [.allow: allow]
        )
    }
}
