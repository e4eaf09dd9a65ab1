import Testing

/// References that keep nothing alive, to see that nothing else does either.
struct Traces {
    private struct Trace {
        let name: String
        weak var object: AnyObject?
    }

    private var traces: [Trace] = []

    mutating func follow(_ object: AnyObject) {
        traces.append(Trace(name: "\(type(of: object))", object: object))
    }

    /// The types of those that are still there.
    var alive: [String] { traces.compactMap { $0.object == nil ? nil : $0.name } }
}
