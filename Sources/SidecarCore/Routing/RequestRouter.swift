public import HTTP1

/// Decides how a request is handled, from its head alone.
public struct RequestRouter: Sendable {
    private let webSocketPaths: [PathPattern]
    private let streamPaths: [PathPattern]
    private let protocolPaths: [PathPattern]
    /// The path of `WEBHOOK_URL` when it is on the app; only Sidesocket may call it.
    private let webhookPath: FoldedPath?
    /// Where the client script is; nil for nowhere.
    private let scriptPath: String?

    /// Makes a router.
    ///
    /// - Parameters:
    ///   - webSocketPaths: Paths whose upgrade requests become sessions.
    ///   - streamPaths: Paths where a GET that accepts `text/event-stream` becomes a session.
    ///   - protocolPaths: Paths where a POST may be one of the client protocol.
    ///   - webhookPath: The path of `WEBHOOK_URL` when it is on the app.
    ///   - scriptPath: Where the client script is served.
    public init(
        webSocketPaths: [PathPattern],
        streamPaths: [PathPattern] = [],
        protocolPaths: [PathPattern] = [],
        webhookPath: String?,
        scriptPath: String? = nil
    ) {
        self.scriptPath = scriptPath
        self.webSocketPaths = webSocketPaths
        self.streamPaths = streamPaths
        self.protocolPaths = protocolPaths
        self.webhookPath = webhookPath.map { FoldedPath(target: $0) }
    }

    /// Decides about one request.
    public func route(_ head: HTTPRequestHead) -> RequestRoute {
        if head.method == "CONNECT" {
            return .refuse(.init(status: 405, sentence: "CONNECT is not supported.", reason: .method))
        }
        if let refusal = checkFields(head.headers) { return .refuse(refusal) }
        if head.headers.hasToken("websocket", in: "upgrade") { return .upgrade }
        guard let target = originForm(head) else {
            return .refuse(
                .init(status: 400, sentence: "The request target does not match the Host.", reason: .badRequest)
            )
        }
        if let webhookPath, FoldedPath(target: target).mayPass(for: webhookPath) {
            return .refuse(.init(status: 404, sentence: "There is nothing at this path.", reason: .webhookPath))
        }
        if let scriptPath, head.method == "GET" || head.method == "HEAD", !head.hasBody,
            Self.path(of: target) == scriptPath
        {
            return .clientScript
        }
        if head.method == "GET", head.target.hasPrefix("/"), asksForEvents(head) { return .eventStream }
        if let route = protocolRoute(head) { return route }
        let closes = head.headers.contains("upgrade")
        switch StructuredEvents.treatment(of: head) {
        case .refuse(let refusal): return .refuse(refusal)
        case .inspect: return .passThrough(target: target, closeAfterwards: closes, inspects: true)
        case .stream: return .passThrough(target: target, closeAfterwards: closes, inspects: false)
        }
    }

    /// True when an upgrade request for this target may become a session.
    public func servesWebSocket(target: String) -> Bool {
        let path = Self.path(of: target)
        return webSocketPaths.contains { $0.matches(path) }
    }

    /// The media type of a POST of the client protocol. No form and no script of another origin can send it unasked.
    public static let protocolMediaType = "application/vnd.sidesocket.v1+json"

    /// How a request of the client protocol over HTTP is handled; nil for any other.
    private func protocolRoute(_ head: HTTPRequestHead) -> RequestRoute? {
        guard !protocolPaths.isEmpty, head.method == "POST" || head.method == "OPTIONS", head.target.hasPrefix("/")
        else { return nil }
        let path = Self.path(of: head.target)
        guard protocolPaths.contains(where: { $0.matches(path) }) else { return nil }
        if head.method == "OPTIONS" {
            let isPreflight = head.headers.contains("origin") && head.headers.contains("access-control-request-method")
            return isPreflight && !head.hasBody ? .protocolPreflight : nil
        }
        let types = head.headers.values(of: "content-type")
        if types.count == 1, types.first?.lowercased() == Self.protocolMediaType {
            return .protocolPost(asksForStream: accepts(head))
        }
        // One that says more than the type would be for the app, which cannot know what it is.
        guard types.contains(where: { $0.lowercased().hasPrefix(Self.protocolMediaType) }) else { return nil }
        return .refuse(
            Refusal(
                status: 415,
                sentence: "The Content-Type must be exactly \(Self.protocolMediaType).",
                reason: .badRequest
            )
        )
    }

    private func asksForEvents(_ head: HTTPRequestHead) -> Bool {
        guard !streamPaths.isEmpty else { return false }
        let path = Self.path(of: head.target)
        return streamPaths.contains { $0.matches(path) } && accepts(head)
    }

    /// True when the client accepts events.
    private func accepts(_ head: HTTPRequestHead) -> Bool {
        var accepts = false
        head.headers.forEach { name, value in
            if !accepts, HTTPField.equals(name, "accept") { accepts = Self.acceptsEvents(value) }
        }
        return accepts
    }

    /// Examines each byte once: as text, splitting would be slow with many combining marks.
    private static func acceptsEvents(_ types: UnsafeRawBufferPointer) -> Bool {
        var rest = types[...]
        while let range = nextPart(of: &rest, endedBy: UInt8(ascii: ",")) {
            if isEventStream(range) { return true }
        }
        return false
    }

    /// True for `text/event-stream` unless its weight is zero (RFC 9110 §12.5.1).
    private static func isEventStream(_ range: Slice<UnsafeRawBufferPointer>) -> Bool {
        var rest = range
        guard let type = nextPart(of: &rest, endedBy: UInt8(ascii: ";")),
            HTTPField.equals(UnsafeRawBufferPointer(rebasing: type), "text/event-stream")
        else { return false }
        while let parameter = nextPart(of: &rest, endedBy: UInt8(ascii: ";")) {
            guard HTTPField.hasPrefix(UnsafeRawBufferPointer(rebasing: parameter), "q=") else { continue }
            let weight = parameter.dropFirst(2)
            if !weight.isEmpty, weight.allSatisfy({ $0 == UInt8(ascii: "0") || $0 == UInt8(ascii: ".") }) {
                return false
            }
        }
        return true
    }

    /// Takes the next part of a list, without the blanks around it; nil after the last.
    private static func nextPart(
        of rest: inout Slice<UnsafeRawBufferPointer>,
        endedBy mark: UInt8
    ) -> Slice<UnsafeRawBufferPointer>? {
        guard !rest.isEmpty else { return nil }
        var part = rest.prefix { $0 != mark }
        rest = rest[part.endIndex...].dropFirst()
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
        while let last = part.last, isBlank(last) { part.removeLast() }
        return part.drop(while: isBlank)
    }

    private func checkFields(_ headers: HTTPHeaders) -> Refusal? {
        var refusal: Refusal?
        var named = 0
        headers.forEach { name, value in
            if HTTPField.equals(name, "connection") {
                named += 1 + value.count(where: { $0 == UInt8(ascii: ",") })
            }
            if HeaderRules.imitatesReserved(name) {
                refusal = Refusal(
                    status: 400,
                    sentence: "A header name imitates a reserved one: write it with hyphens, or choose another.",
                    reason: .reservedHeader
                )
            } else if HTTPField.equals(name, "ce-type"), Self.namesOurEvents(value) {
                refusal = .forgedEvent
            }
        }
        if named > HeaderRules.mostNamed {
            return Refusal(
                status: 400,
                sentence: "The Connection header names too many fields.",
                reason: .badRequest
            )
        }
        return refusal
    }

    /// True for `sidesocket.…`, also quoted, escaped or percent-encoded, since the app's library may decode it.
    ///
    /// The CloudEvents HTTP binding (§3.1.3.2) removes quotes and backslashes first and decodes then; libraries that do
    /// it in the other order are covered too.
    static func namesOurEvents(_ value: UnsafeRawBufferPointer) -> Bool {
        func isQuoting(_ byte: UInt8) -> Bool {
            byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") || HTTPField.isSpace(byte)
        }
        let unquoted = value.filter { !isQuoting($0) }
        var decoded = PercentEncoding.bytes(unquoted)
        decoded.removeAll(where: isQuoting)
        return decoded.withUnsafeBytes { HTTPField.hasPrefix($0, "sidesocket.") }
    }

    /// The target as path and query; an absolute one (RFC 9112 §3.2.2) has to name the same host as `Host`.
    private func originForm(_ head: HTTPRequestHead) -> String? {
        if head.target.utf8.first == UInt8(ascii: "/") { return head.target }
        if head.target == "*" { return head.method == "OPTIONS" ? "*" : nil }
        let lower = head.target.lowercased()
        for scheme in ["http://", "https://"] where lower.hasPrefix(scheme) {
            let rest = head.target.utf8.dropFirst(scheme.utf8.count)
            let authorityEnd = rest.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? rest.endIndex
            let authority = String(Substring(rest[..<authorityEnd]))
            guard authority.lowercased() == head.headers.first("host")?.lowercased() else { return nil }
            let path = String(Substring(rest[authorityEnd...]))
            return path.hasPrefix("/") ? path : "/" + path
        }
        return nil
    }

    static func path(of target: String) -> Substring {
        target.prefix { $0 != "?" }
    }
}
