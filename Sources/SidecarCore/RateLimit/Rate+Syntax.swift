extension Rate {
    /// Reads `COUNT/PERIOD` or `COUNT/PERIOD,burst=COUNT`, where a count of bytes may have a unit.
    static func read(_ text: String, _ unit: Unit) throws(ValueProblem) -> Rate {
        let comma = text.firstIndex(of: ",") ?? text.endIndex
        guard let slash = text[..<comma].firstIndex(of: "/") else {
            throw ValueProblem("has no / between its count and its period")
        }
        let numbers = unit == .bytes ? ValueSyntax.size(1...most(unit)) : ValueSyntax.count(1...most(unit))
        let count = try part("count", text[..<slash], numbers)
        let period = try part("period", text[text.index(after: slash)..<comma], .duration(periods))
        guard comma < text.endIndex else { return Rate(Int64(count), per: period, unit: unit) }

        let option = text[text.index(after: comma)...]
        let prefix = "burst="
        guard option.hasPrefix(prefix) else { throw ValueProblem("has something other than burst= after its comma") }
        let burst = try part("burst", option.dropFirst(prefix.count), numbers)
        guard burst <= largestBurst(Int64(count), per: period, unit: unit) else {
            throw ValueProblem("has a burst that takes more than 365 days to refill")
        }
        return Rate(Int64(count), per: period, burst: Int64(burst), unit: unit)
    }

    /// Reads one part of a rate; a problem names the part.
    private static func part<Value>(
        _ name: String,
        _ text: Substring,
        _ syntax: ValueSyntax<Value>
    ) throws(ValueProblem) -> Value {
        guard !text.isEmpty else { throw ValueProblem("has no \(name)") }
        do {
            return try syntax.read(String(text))
        } catch {
            throw ValueProblem("has a \(name) that \(error.message)")
        }
    }
}

extension ValueSyntax where Value == Rate? {
    /// A rate, or `off` for none.
    static func rate(_ unit: Rate.Unit) -> ValueSyntax {
        let examples = unit == .bytes ? "1MiB/1s or 1MiB/1s,burst=4MiB" : "20/1s or 600/1m,burst=100"
        return ValueSyntax(
            accepted: "a rate COUNT/PERIOD, with a burst if it differs from the count, such as \(examples), or off",
            read: { text throws(ValueProblem) in
                text.lowercased() == "off" ? nil : try Rate.read(text, unit)
            },
            show: { $0?.description ?? "off" }
        )
    }
}
