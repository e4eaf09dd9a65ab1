import HTTP1
import NIOCore

extension ValueSyntax where Value == [TokenAlgorithm] {
    static let tokenAlgorithms = ValueSyntax(
        accepted: "\(TokenAlgorithm.allCases.map(\.rawValue).joined(separator: ", ")); comma-separated",
        takesList: true,
        read: { text throws(ValueProblem) in
            var algorithms: [TokenAlgorithm] = []
            for item in try listItems(text) {
                guard let algorithm = TokenAlgorithm(rawValue: String(item)) else {
                    throw ValueProblem("has an unknown algorithm")
                }
                if !algorithms.contains(algorithm) { algorithms.append(algorithm) }
            }
            return algorithms
        },
        show: { $0.map(\.rawValue).joined(separator: ",") }
    )
}

extension ValueSyntax where Value == [TokenSource] {
    static let tokenSources = ValueSyntax(
        accepted: "subprotocol, authorization, cookie:NAME, query:NAME, message; comma-separated, in their order",
        takesList: true,
        read: { text throws(ValueProblem) in
            var sources: [TokenSource] = []
            for item in try listItems(text) {
                let source = try source(String(item))
                guard !sources.contains(source) else { throw ValueProblem("names a source twice") }
                sources.append(source)
            }
            return sources
        },
        show: { $0.map(\.description).joined(separator: ",") }
    )

    private static func source(_ item: String) throws(ValueProblem) -> TokenSource {
        switch item {
        case "subprotocol": return .subprotocol
        case "authorization": return .authorization
        case "message": return .message
        default: break
        }
        let parts = item.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, !parts[1].isEmpty,
            parts[1].utf8.allSatisfy({ HTTPField.isDigit($0) || HTTPField.isLetter($0) || "-._".utf8.contains($0) })
        else { throw ValueProblem("names an unknown source") }
        switch parts[0] {
        case "cookie": return .cookie(parts[1])
        case "query": return .query(parts[1])
        default: throw ValueProblem("names an unknown source")
        }
    }
}

extension ValueSyntax where Value == [String] {
    /// Texts separated by commas, such as issuers.
    static let texts = ValueSyntax(
        accepted: "one or more values, comma-separated",
        takesList: true,
        read: { text throws(ValueProblem) in try listItems(text).map(String.init) },
        show: { $0.joined(separator: ",") }
    )

    /// Names of cookies (RFC 6265 §4.1.1), each once.
    static let cookieNames = ValueSyntax(
        accepted: "names of cookies, comma-separated",
        takesList: true,
        read: { text throws(ValueProblem) in
            let names = try listItems(text).map(String.init)
            guard names.allSatisfy({ HTTPField.isToken($0) }) else {
                throw ValueProblem("has a name that is not a token")
            }
            guard Set(names).count == names.count else { throw ValueProblem("has a name twice") }
            return names
        },
        show: { $0.joined(separator: ",") }
    )

    /// Names of claims that the app gets; the names of their attributes have to be different.
    static let claimNames = ValueSyntax(
        accepted: "names of claims with a letter or digit in each; comma-separated",
        takesList: true,
        read: { text throws(ValueProblem) in
            let names = try listItems(text).map(String.init)
            let attributes = names.map(Settings.claimAttribute)
            guard attributes.allSatisfy({ $0 != Settings.claimAttribute("") }) else {
                throw ValueProblem("has a name without a letter or digit")
            }
            guard Set(attributes).count == attributes.count else {
                throw ValueProblem("has two names that become the same header")
            }
            return names
        },
        show: { $0.joined(separator: ",") }
    )
}

extension ValueSyntax where Value == String {
    /// Any text of limited length.
    static func text(_ accepted: String, upTo limit: Int) -> ValueSyntax {
        ValueSyntax(
            accepted: accepted,
            read: { text throws(ValueProblem) in
                guard text.utf8.count <= limit else { throw ValueProblem("is longer than \(limit) bytes") }
                return text
            },
            show: { $0 }
        )
    }
}

extension ValueSyntax where Value == WebhookTarget {
    static let httpURL = ValueSyntax(
        accepted: "an http:// or https:// URL",
        read: { text throws(ValueProblem) in
            let target = try ValueSyntax.webhookURL.read(text)
            guard target.origin != nil else { throw ValueProblem("has no http:// or https://") }
            return target
        },
        show: { $0.description }
    )
}

extension ValueSyntax where Value == AutoBan? {
    static let autoBan = ValueSyntax(
        accepted: "THRESHOLD/PERIOD,ttl=DURATION such as 20/1m,ttl=10m, or off",
        read: { text throws(ValueProblem) in
            if text.lowercased() == "off" { return nil }
            let parts = text.split(separator: ",", omittingEmptySubsequences: false)
            guard parts.count == 2, parts[1].hasPrefix("ttl="), !parts[0].contains("burst") else {
                throw ValueProblem("has the wrong format")
            }
            guard let violations = try ValueSyntax<Rate?>.rate(.events).read(String(parts[0])) else {
                throw ValueProblem("has no threshold")
            }
            let ttl = ValueSyntax<TimeAmount>.duration(.seconds(1) ... .hours(30 * 24))
            return AutoBan(violations: violations, duration: try ttl.read(String(parts[1].dropFirst(4))))
        },
        show: { $0.map { "\($0.violations),ttl=\(showDuration($0.duration))" } ?? "off" }
    )
}

extension Settings {
    /// The attribute in which the app gets a claim: `claim` and the letters and digits of its name in lower case,
    /// since the name of a CloudEvents attribute may have no others.
    public static func claimAttribute(_ claim: String) -> String {
        "claim" + claim.lowercased().filter { $0.isASCII && ($0.isLetter || $0.isNumber) }
    }
}
