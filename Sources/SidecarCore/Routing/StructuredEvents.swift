public import HTTP1
public import NIOCore

/// Whether a passed-through request may carry an event in its body, and whether that event claims to be ours.
///
/// CloudEvents has two modes with the event's attributes in the body instead of headers: structured
/// (`application/cloudevents+json`) and batched (`application/cloudevents-batch+json`; HTTP binding §3.2 and 3.3). Apps
/// that use a CloudEvents library accept them in these modes just like the events of Sidesocket, so a body of these
/// types is read completely before the app sees any of it.
public enum StructuredEvents {
    /// The largest body that is read, in bytes.
    public static let maxBytes = 1 << 20

    /// How deep arrays and objects may be nested.
    static let maxDepth = 256

    /// How many members an event may have; CloudEvents has less than ten of its own.
    static let maxMembers = 1024

    /// How many parameters a type may have; `charset` is the only one in use.
    static let maxParameters = 16

    /// What to do with the body of a request.
    public enum Treatment: Sendable, Equatable {
        /// It is streamed to the app unread.
        case stream
        /// It is read completely, and then checked by ``StructuredEvents/refusal(of:)``.
        case inspect
        /// It cannot be checked.
        case refuse(Refusal)
    }

    /// Decides from the head.
    ///
    /// Libraries look for the start of the type, and some join the values of a repeated header, so the type counts
    /// wherever it appears in a value. Formats other than JSON are not read.
    public static func treatment(of head: HTTPRequestHead) -> Treatment {
        guard head.hasBody, head.headers.contains("content-type") else { return .stream }
        let types = head.headers.values(of: "content-type").map { $0.lowercased() }
        guard types.contains(where: namesJSONEvents) else { return .stream }
        let codings = head.headers.values(of: "content-encoding").map { $0.lowercased() }
        guard codings.allSatisfy({ $0.isEmpty || $0 == "identity" }) else {
            return .refuse(unreadable("A JSON event must not be compressed."))
        }
        guard types.allSatisfy(isUTF8) else { return .refuse(unreadable("A JSON event must be UTF-8.")) }
        if case .length(let length) = head.framing, length > maxBytes { return .refuse(.eventTooLarge) }
        return .inspect
    }

    /// Checks a complete body; nil when it may pass.
    ///
    /// Only JSON that all readers understand in the same way may pass: valid UTF-8, one object or an array of objects,
    /// and no duplicate members in an event. Escapes are decoded before the type is compared.
    public static func refusal(of body: ByteBuffer) -> Refusal? {
        body.withUnsafeReadableBytes { bytes in
            let typed = bytes.assumingMemoryBound(to: UInt8.self)
            guard (try? UTF8Span(validating: typed.span)) != nil else { return malformed("it is not valid UTF-8.") }
            var reader = JSONReader(bytes)
            do throws(JSONReader.Fault) {
                var isForged = false
                if reader.take("[") {
                    if !reader.take("]") {
                        repeat { isForged = try readEvent(&reader) || isForged } while reader.take(",")
                        try reader.expect("]")
                    }
                } else {
                    isForged = try readEvent(&reader)
                }
                guard reader.isAtEnd() else { throw .malformed }
                return isForged ? .forgedEvent : nil
            } catch {
                return malformed(error.sentence)
            }
        }
    }

    /// Reads one event; true when its type is one of ours.
    private static func readEvent(_ reader: inout JSONReader) throws(JSONReader.Fault) -> Bool {
        guard reader.take("{") else { throw JSONReader.Fault(sentence: "an event must be an object.") }
        return try readMembers(&reader)
    }

    /// Reads an event after its opening brace.
    private static func readMembers(
        _ reader: inout JSONReader,
        areExtensions: Bool = false
    ) throws(JSONReader.Fault) -> Bool {
        if reader.take("}") { return false }
        var isForged = false
        var isDoubled = false
        var names: Set<[UInt8]> = []
        repeat {
            // Attributes are in lower case (CloudEvents §3.1), but some readers accept other spellings.
            let name = Array(try reader.name().utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 })
            guard name.count <= JSONValue.maxNameBytes else { throw .longName }
            if !names.insert(name).inserted { isDoubled = true }
            guard names.count <= maxMembers else { throw JSONReader.Fault(sentence: "an event has too many members.") }
            if name.elementsEqual("type".utf8) {
                var type = try reader.string()
                isForged = type.withUTF8 { RequestRouter.namesOurEvents(UnsafeRawBufferPointer($0)) } || isForged
            } else if name.elementsEqual("extensions".utf8), !areExtensions, reader.take("{") {
                // The Python library merges them into the attributes.
                isForged = try readMembers(&reader, areExtensions: true) || isForged
            } else {
                try reader.skipValue(maxDepth: maxDepth)
            }
        } while reader.take(",")
        try reader.expect("}")
        if isDoubled, !isForged { throw JSONReader.Fault(sentence: "a member appears twice.") }
        return isForged
    }

    /// Examines each byte once: what follows a type belongs to it up to the next mark.
    private static func namesJSONEvents(_ type: String) -> Bool {
        let wanted: StaticString = "application/cloudevents"
        return Array(type.utf8).withUnsafeBytes { bytes in
            var index = 0
            while index < bytes.count {
                guard HTTPField.hasPrefix(UnsafeRawBufferPointer(rebasing: bytes[index...]), wanted) else {
                    index += 1
                    continue
                }
                let suffix = bytes[(index + wanted.utf8CodeUnitCount)...].prefix { !";, \t".utf8.contains($0) }
                // Without a format suffix libraries assume JSON.
                if !suffix.contains(UInt8(ascii: "+")) || mentionsJSON(suffix) { return true }
                index = suffix.endIndex
            }
            return false
        }
    }

    private static func mentionsJSON(_ suffix: Slice<UnsafeRawBufferPointer>) -> Bool {
        suffix.indices.contains {
            HTTPField.hasPrefix(UnsafeRawBufferPointer(rebasing: suffix[$0...]), "json")
        }
    }

    /// A charset parameter could make the app read other characters than those that are checked here.
    private static func isUTF8(_ type: String) -> Bool {
        let parameters = type.split(separator: ";", maxSplits: maxParameters + 1).dropFirst()
        guard parameters.count <= maxParameters else { return false }
        return parameters.allSatisfy { parameter in
            let text = parameter.filter { $0 != " " && $0 != "\t" && $0 != "\"" && $0 != "'" }
            guard text.hasPrefix("charset") else { return true }
            let value = text.drop { $0 != "=" }.dropFirst().prefix { $0 != "," }
            return value == "utf-8" || value == "utf8" || value == "us-ascii"
        }
    }

    private static func unreadable(_ sentence: String) -> Refusal {
        Refusal(status: 415, sentence: sentence, reason: .unreadableEvent)
    }

    private static func malformed(_ what: String) -> Refusal {
        Refusal(status: 400, sentence: "The body is not a valid JSON event: \(what)", reason: .malformedEvent)
    }
}

extension Refusal {
    /// The response to a body that is larger than ``StructuredEvents/maxBytes``.
    public static let eventTooLarge = Refusal(
        status: 413,
        sentence: "A JSON event may be at most \(StructuredEvents.maxBytes) bytes.",
        reason: .eventTooLarge
    )

    /// The response to an event that claims to be one of ours.
    static let forgedEvent = Refusal(
        status: 403,
        sentence: "Events of type sidesocket.* come from Sidesocket alone.",
        reason: .forgedEvent
    )
}
