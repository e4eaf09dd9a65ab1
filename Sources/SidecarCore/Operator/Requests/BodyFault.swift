public import NIOCore

/// Why the body of an API call is invalid.
public struct BodyFault: Error, Sendable, Equatable {
    /// One plain sentence, without quotes and without anything from the body.
    public let sentence: String
    /// Whether its media type is the problem.
    public var isOfType = false
}

extension OperatorSyntax {
    /// The message to send for a body of this type: the same as for a reply of the app, except for forms.
    ///
    /// `curl -d` declares everything as a form, so that is taken as text.
    ///
    /// - Throws: ``BodyFault`` for a type that is not a message, or text that is not UTF-8.
    public static func message(
        contentType: String?,
        body: ByteBuffer
    ) throws(BodyFault) -> (MessageFormat, ByteBuffer) {
        var value = contentType ?? ""
        let type = value.withUTF8 { $0.isEmpty ? nil : MediaType(UnsafeRawBufferPointer($0)) }
        switch value.prefix(while: { $0 != ";" }).lowercased().filter({ $0 != " " && $0 != "\t" }) {
        case "application/x-www-form-urlencoded":
            guard body.isValidUTF8 else {
                throw BodyFault(
                    sentence: "A form is sent as text, and this is not UTF-8. Send binary data as "
                        + "application/octet-stream.",
                    isOfType: true
                )
            }
            return (.text, body)
        case "multipart/form-data":
            throw BodyFault(
                sentence: "A multipart form is not a message. Send the message itself as the body, as text/plain, "
                    + "application/json or application/octet-stream.",
                isOfType: true
            )
        default: break
        }
        guard let type else { return (body.isValidUTF8 ? .text : .binary, body) }
        guard let format = type.format else {
            throw BodyFault(
                sentence: "A list of commands is not a message. Send the message itself as text/plain, "
                    + "application/json or application/octet-stream.",
                isOfType: true
            )
        }
        guard !format.isText || body.isValidUTF8 else {
            throw BodyFault(sentence: "The body is declared as text and is not valid UTF-8.")
        }
        return (format, body)
    }
}
