public import HTTP1
public import NIOCore

extension CloudEventsDialect {
    /// Reads the app's reply to an event, or to a batch of as many messages.
    public func decode(
        _ head: HTTPReplyHead,
        _ body: ByteBuffer,
        events count: Int
    ) throws(DeliveryFailure) -> SessionReply {
        guard (200..<300).contains(head.status) else { throw .status(head.status) }
        var mediaType: MediaType?
        var isCoded = false
        var hasFields = false
        head.headers.forEach { name, value in
            switch name.count {
            case 12 where HTTPField.equals(name, "content-type"):
                mediaType = value.isEmpty ? nil : MediaType(value)
            case 16 where HTTPField.equals(name, "content-encoding"):
                isCoded = isCoded || !HTTPField.equals(value, "identity")
            default:
                hasFields = hasFields || HeaderRules.isSidesocket(name)
            }
        }
        let isEmpty = body.readableBytes == 0
        if isCoded, !isEmpty { throw .badReply("The body has a content coding.") }
        let demands = hasFields ? Shared(try SessionReply.Demands(head.headers)) : nil
        let publishesBody = demands.map { !$0.value.publish.isEmpty } ?? false
        if count > 1, publishesBody {
            throw .badReply("The answer to a batch publishes by commands, not by Sidesocket-Publish.")
        }
        if isEmpty { return SessionReply(output: .none, demands: demands) }
        let output: SessionReply.Output
        if count > 1 {
            guard mediaType == .commands else {
                throw .badReply("The answer to a batch is empty or a list of command lists.")
            }
            output = .commands(try CommandList.parse(body, batchOf: count))
        } else {
            output = try Self.output(mediaType, body: body)
            if publishesBody, case .commands = output {
                throw .badReply("With Sidesocket-Publish the body is the message, not a list of commands.")
            }
        }
        return SessionReply(output: output, demands: demands)
    }

    /// The body of a refusal, by its type; nil for an empty or a compressed one, and for commands.
    public func content(_ head: HTTPReplyHead, _ body: ByteBuffer) -> ProtocolError.Content? {
        guard body.readableBytes > 0,
            head.headers.values(of: "content-encoding").allSatisfy({ $0.lowercased() == "identity" })
        else { return nil }
        var type = head.headers.first("content-type") ?? ""
        let format = type.withUTF8 { $0.isEmpty ? .text : MediaType(UnsafeRawBufferPointer($0)).format }
        guard let format else { return nil }
        return ProtocolError.Content(format.isText && !body.isValidUTF8 ? .binary : format, body)
    }

    private static func output(
        _ type: MediaType?,
        body: ByteBuffer
    ) throws(DeliveryFailure) -> SessionReply.Output {
        guard let type else { return .message(body.isValidUTF8 ? .text : .binary, body) }
        guard let format = type.format else { return .commands(try CommandList.parse(body)) }
        guard !format.isText || body.isValidUTF8 else {
            throw .badReply("The body is declared as text and is not valid UTF-8.")
        }
        return .message(format, body)
    }
}
