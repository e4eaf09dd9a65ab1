internal import Hummingbird
internal import NIOCore
internal import SidecarCore

/// Reads the parts of a request to the API.
enum APIPath {
    static func parameter(_ name: String, _ context: ControlContext) throws -> String {
        guard let part = context.parameters.get(name), !part.isEmpty else {
            throw APIFault.badRequest("A part of the path is missing.")
        }
        guard let value = OperatorSyntax.text(part) else {
            throw APIFault.badRequest("A part of the path is not valid UTF-8.")
        }
        return value
    }

    /// A name or its beginning that a list is filtered by; it is compared with many, so it is short.
    static func name(_ text: Substring?, _ parameter: String) throws -> String? {
        guard let text else { return nil }
        guard text.utf8.count <= ChannelName.maxBytes, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw APIFault.badRequest("\(parameter) is at most \(ChannelName.maxBytes) printable ASCII characters.")
        }
        return String(text)
    }

    static func limit(_ text: Substring?, as name: String = "limit") throws -> Int {
        let limit = text.map { Int($0) ?? 0 } ?? 100
        guard (1...1000).contains(limit) else { throw APIFault.badRequest("\(name) must be a number from 1 to 1000.") }
        return limit
    }

    static func body(of request: Request, _ context: ControlContext, upTo limit: Int) async throws -> ByteBuffer {
        do {
            context.wantsBody()
            return try await request.body.collect(upTo: limit)
        } catch is NIOTooManyBytesError {
            throw APIFault.tooLarge
        } catch {
            throw APIFault.badRequest("The body is broken.")
        }
    }
}
