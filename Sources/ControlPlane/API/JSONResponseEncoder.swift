internal import FoundationEssentials
internal import HTTPTypes
internal import Hummingbird
internal import NIOCore

/// Encodes answers as JSON, with a line feed at the end, since people read them in a terminal too.
///
/// Members are in the order of their names: `JSONEncoder` does not keep the declared one, and unsorted they would be in
/// another order in each answer.
struct JSONResponseEncoder: ResponseEncoder {
    private static let encoder: JSONEncoder = {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return encoder
    }()

    func encode(
        _ value: some Encodable,
        from request: Request,
        context: some RequestContext
    ) throws -> Response {
        EncodedResponse(json: try Self.json(value)).response(from: request, context: context)
    }

    static func json(_ value: some Encodable) throws -> ByteBuffer {
        let data = try encoder.encode(value)
        var json = ByteBuffer()
        json.reserveCapacity(data.count + 1)
        json.writeBytes(data)
        json.writeStaticString("\n")
        return json
    }
}

/// An answer that is JSON already: the first one to an `Idempotency-Key`, which all others are byte by byte.
struct EncodedResponse: ResponseGenerator {
    let json: ByteBuffer

    func response(from _: Request, context _: some RequestContext) -> Response {
        Response(
            status: .ok,
            headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: json)
        )
    }
}
