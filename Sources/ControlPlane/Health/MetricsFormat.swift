/// In which of its two formats `/metrics` answers.
enum MetricsFormat: Equatable {
    case text
    case openMetrics

    var contentType: String {
        switch self {
        case .text: "text/plain; version=0.0.4; charset=utf-8"
        case .openMetrics: "application/openmetrics-text; version=1.0.0; charset=utf-8"
        }
    }

    /// Chooses by the Accept header (RFC 9110 section 12.5.1): OpenMetrics only when named, and not liked less than text.
    static func negotiate(accept: String?) -> MetricsFormat {
        var openMetrics = 0.0
        var text = 0.0
        for range in (accept ?? "").split(separator: ",") {
            let parts = range.split(separator: ";").map { Self.trimmed($0).lowercased() }
            guard let type = parts.first else { continue }
            let quality = Self.quality(parts.dropFirst())
            switch type {
            case "application/openmetrics-text" where Self.isKnownVersion(parts.dropFirst()):
                openMetrics = max(openMetrics, quality)
            case "text/plain":
                text = max(text, quality)
            default:
                continue
            }
        }
        return openMetrics > 0 && openMetrics >= text ? .openMetrics : .text
    }

    /// An unreadable weight counts as none given.
    private static func quality(_ parameters: ArraySlice<String>) -> Double {
        for parameter in parameters where parameter.hasPrefix("q=") {
            return Double(parameter.dropFirst(2)).map { $0.isNaN ? 1 : min(max($0, 0), 1) } ?? 1
        }
        return 1
    }

    private static func isKnownVersion(_ parameters: ArraySlice<String>) -> Bool {
        parameters.allSatisfy { !$0.hasPrefix("version=") || $0 == "version=1.0.0" || $0 == "version=0.0.1" }
    }

    private static func trimmed(_ text: Substring) -> Substring {
        let start = text.drop { $0 == " " || $0 == "\t" }
        return start.lastIndex { $0 != " " && $0 != "\t" }.map { start[...$0] } ?? ""
    }
}
