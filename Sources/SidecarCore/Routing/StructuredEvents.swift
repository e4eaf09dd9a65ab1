public import HTTP1
public import NIOCore

/// Whether a request that is passed through may carry an event in its body, and whether that event claims to be ours.
///
/// CloudEvents has two modes with the event's attributes in the body instead of headers: structured
/// (`application/cloudevents+json`) and batched (`application/cloudevents-batch+json`; HTTP binding §3.2 and 3.3). Apps
/// that read their events with a CloudEvents library take these modes for the same events as those of Sidesocket, so a
/// body of these types is read before the app sees any of it.
public enum StructuredEvents {
    /// The largest body that is read, in bytes.
    public static let maxBytes = 1 << 20

    /// How deep arrays and objects may lie in one another.
    static let maxDepth = 256

    /// How many members an event may have; CloudEvents has less than ten of its own.
    static let maxMembers = 1024

    /// How many parameters a type may have; `charset` is the only one in use.
    static let maxParameters = 16

    /// What to do with the body of a request.
    public enum Treatment: Sendable, Equatable {
        /// It is streamed to the app unseen.
        case stream
        /// It is read whole, and then judged by ``StructuredEvents/refusal(of:)``.
        case inspect
        /// It cannot be judged.
        case refuse(Refusal)
    }

    /// Decides by the head.
    ///
    /// Libraries look for the start of the type, and some join the fields of a doubled header, so the type counts
    /// wherever it stands in one. Formats other than JSON are not read.
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

    /// Judges a whole body; nil when it may pass.
    ///
    /// Only JSON that all readers understand alike may pass: valid UTF-8, one object or an array of objects, no member
    /// twice in an event, escapes decoded before the type is looked at.
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

    /// Reads one event; says whether its type is one of ours.
    private static func readEvent(_ reader: inout JSONReader) throws(JSONReader.Fault) -> Bool {
        guard reader.take("{") else { throw JSONReader.Fault(sentence: "an event must be an object.") }
        return try readMembers(&reader)
    }

    /// Reads what stands behind the opening brace of an event.
    private static func readMembers(
        _ reader: inout JSONReader,
        areExtensions: Bool = false
    ) throws(JSONReader.Fault) -> Bool {
        if reader.take("}") { return false }
        var isForged = false
        var isDoubled = false
        var names: Set<[UInt8]> = []
        repeat {
            // Attributes are in lower case (CloudEvents §3.1); who writes them otherwise means the same to some readers.
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

    /// Looks at each byte once: what follows a type belongs to it up to the next mark.
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
                // Without a format JSON is what libraries expect.
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

    /// A parameter could make the app read other characters than those that are judged here.
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
    /// The answer to a body that is larger than ``StructuredEvents/maxBytes``.
    public static let eventTooLarge = Refusal(
        status: 413,
        sentence: "A JSON event may be at most \(StructuredEvents.maxBytes) bytes.",
        reason: .eventTooLarge
    )

    /// The answer to an event that claims to be one of ours.
    static let forgedEvent = Refusal(
        status: 403,
        sentence: "Events of type sidesocket.* come from Sidesocket alone.",
        reason: .forgedEvent
    )
}
