internal import HTTPTypes
internal import Hummingbird
internal import Logging

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
        } catch {
            return try self.problem(of: error, request).response(from: request, context: context)
        }
    }

    private func problem(of error: any Error, _ request: Request) -> Problem {
        if let fault = APIFault(error) { return fault.problem }
        switch error {
        case let error as HTTPError where error.status == .notFound:
            return self.unknown(request)
        case let error as any HTTPResponseError:
            return Problem(error.status, detail: "The request could not be answered.")
        default:
            self.logger.error("control request failed", metadata: ["error": "\(error)"])
            return Problem(.internalServerError, detail: "The request failed because of an internal error.")
        }
    }

    private static func parts(_ path: String) -> [Substring] {
        path.split(separator: "/", omittingEmptySubsequences: false)
    }

    private static func matches(_ pattern: [Substring], _ parts: [Substring]) -> Bool {
        pattern.count == parts.count && zip(pattern, parts).allSatisfy { $0 == $1 || $0.hasPrefix("{") && !$1.isEmpty }
    }

    /// The router takes a known path with another method for an unknown one; HTTP doesn't.
    private func unknown(_ request: Request) -> Problem {
        let parts = Self.parts(request.uri.path)
        guard let methods = self.allowedMethods.first(where: { Self.matches(Self.parts($0.path), parts) })?.methods
        else { return Problem(.notFound, detail: "There is nothing at this path.") }
        let allow = methods.map(\.rawValue).joined(separator: ", ")
        return Problem(.methodNotAllowed, detail: "This path supports only \(allow).", headers: [.allow: allow])
    }
}
