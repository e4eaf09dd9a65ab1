import HTTP1

extension ValueSyntax where Value == EngineURL {
    static let engineURL = ValueSyntax(
        accepted: "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], redis+sentinel://HOST,HOST/SERVICE[/DATABASE] or "
            + "redis+cluster://HOST,HOST; rediss instead of redis for TLS, with ?ca=FILE&cert=FILE&key=FILE",
        read: { text throws(ValueProblem) in try EngineURLSyntax.read(text[...]).url },
        show: { $0.text },
        redacted: { $0.description }
    )
}

extension ValueSyntax where Value == [IngestURL] {
    /// The most streams; each costs connections.
    private static let most = 16

    static let ingestURLs = ValueSyntax(
        accepted: "URLs as for CLUSTER_URL, each with ?stream=NAME unless it is \(IngestURL.defaultStream); "
            + "comma-separated",
        takesList: true,
        read: { text throws(ValueProblem) in
            let items = items(text)
            guard items.count <= most else { throw ValueProblem("has more than \(most) URLs") }
            var urls: [IngestURL] = []
            for (index, item) in items.enumerated() {
                let url: IngestURL
                do throws(ValueProblem) {
                    url = try Self.url(item)
                } catch {
                    throw items.count == 1 ? error : ValueProblem("in URL \(index + 1): \(error.message)")
                }
                guard !urls.contains(url) else { throw ValueProblem("in URL \(index + 1): is in the list already") }
                urls.append(url)
            }
            return urls
        },
        show: { $0.map(\.text).joined(separator: ",") },
        redacted: { $0.map(\.description).joined(separator: ",") }
    )

    /// Splits at commas that a scheme follows; all others stand between the hosts of one URL.
    private static func items(_ text: String) -> [Substring] {
        var items: [Substring] = []
        var start = text.startIndex
        for index in text.indices where text[index] == "," {
            let next = text[text.index(after: index)...].drop { $0 == " " || $0 == "\t" }
            guard beginsWithScheme(next) else { continue }
            items.append(text[start..<index])
            start = next.startIndex
        }
        items.append(text[start...])
        return items.map { item in
            var item = item.drop { $0 == " " || $0 == "\t" }
            while item.last == " " || item.last == "\t" { item.removeLast() }
            return item
        }
    }

    private static func beginsWithScheme(_ text: Substring) -> Bool {
        let scheme = text.utf8.prefix { HTTPField.isLetter($0) || HTTPField.isDigit($0) || "+-.".utf8.contains($0) }
        return !scheme.isEmpty && text[scheme.endIndex...].hasPrefix("://")
    }

    private static func url(_ text: Substring) throws(ValueProblem) -> IngestURL {
        guard !text.lowercased().hasPrefix("kafka://") else {
            throw ValueProblem("is a URL of Kafka; Kafka is not supported by this version")
        }
        let (engine, others) = try EngineURLSyntax.read(text, parameters: ["stream"])
        let stream = others["stream"] ?? IngestURL.defaultStream
        guard EngineURLSyntax.isPrintable(stream, upTo: 200) else {
            throw ValueProblem("has a stream that is not 1 to 200 printable ASCII characters without spaces")
        }
        guard engine.topology != .cluster || fitsSlot(stream) else {
            throw ValueProblem("has a stream with a } that is not part of a {tag}, which a Redis Cluster cannot have")
        }
        return IngestURL(engine: engine, stream: stream)
    }

    /// Whether other keys can be in the slot of this one: it has a hash tag, or can be one.
    private static func fitsSlot(_ stream: String) -> Bool {
        guard stream.contains("}") else { return true }
        let tag = stream.drop { $0 != "{" }.dropFirst()
        return tag.contains("}") && !tag.hasPrefix("}")
    }
}

extension ValueSyntax where Value == ClusterSecrets {
    static let clusterSecrets = ValueSyntax(
        accepted: "a text of \(ClusterSecrets.lengths.lowerBound) to \(ClusterSecrets.lengths.upperBound) bytes; "
            + "separate several with spaces, for rotation",
        read: { text throws(ValueProblem) in try ClusterSecrets(parsing: text) },
        show: { $0.secrets.joined(separator: " ") },
        redacted: { $0.description }
    )
}

extension ValueSyntax where Value == String {
    /// The beginning of every key; free of characters that an engine treats specially.
    static let clusterPrefix = ValueSyntax(
        accepted: "1 to 64 letters, digits and - _",
        read: { text throws(ValueProblem) in
            guard text.utf8.count <= 64 else { throw ValueProblem("is longer than 64 bytes") }
            guard text.utf8.allSatisfy({ HTTPField.isDigit($0) || HTTPField.isLetter($0) || "-_".utf8.contains($0) })
            else { throw ValueProblem("has a character that is not allowed") }
            return text
        },
        show: { $0 }
    )
}
