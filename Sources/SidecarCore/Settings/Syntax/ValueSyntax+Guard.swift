extension ValueSyntax where Value == AllowedOrigins {
    static let origins = ValueSyntax(
        accepted: "same-host, *, null, or origins such as https://example.com and https://*.example.com; "
            + "comma-separated",
        takesList: true,
        read: { text throws(ValueProblem) in
            let items = try listItems(text)
            do throws(AdmissionSyntaxFault) {
                return try AllowedOrigins(parsing: items)
            } catch {
                throw ValueProblem(error.problem)
            }
        },
        show: { $0.items.joined(separator: ",") }
    )
}

extension ValueSyntax where Value == TrustedProxies {
    static let proxies = ValueSyntax(
        accepted: "addresses, networks such as 10.0.0.0/8 or fd00::/8, loopback, private; comma-separated; or none",
        takesList: true,
        read: { text throws(ValueProblem) in
            if isNone(text) { return .none }
            let items = try listItems(text)
            do throws(AdmissionSyntaxFault) {
                return try TrustedProxies(parsing: items)
            } catch {
                throw ValueProblem(error.problem)
            }
        },
        show: { $0.isEmpty ? "none" : $0.networks.map(\.description).joined(separator: ",") }
    )
}

extension ValueSyntax where Value == ProxyProtocolMode? {
    static let proxyProtocol = ValueSyntax(
        accepted: "\(ProxyProtocolMode.allCases.map(\.rawValue).joined(separator: ", ")), or off",
        read: { text throws(ValueProblem) in
            text.lowercased() == "off" ? nil : try ValueSyntax<ProxyProtocolMode>.choice.read(text)
        },
        show: { $0?.rawValue ?? "off" }
    )
}

extension ValueSyntax where Value == Set<DryRunLimit> {
    /// Names of variables, in lower or upper case, with or without the prefix.
    static let limitNames = ValueSyntax(
        accepted: "\(DryRunLimit.allCases.map(\.rawValue).joined(separator: ", ")); comma-separated; or none",
        takesList: true,
        read: { text throws(ValueProblem) in
            if isNone(text) { return [] }
            var limits: Set<DryRunLimit> = []
            for item in try listItems(text) {
                let name = item.lowercased()
                let prefix = SettingsRegistry.prefix.lowercased()
                guard
                    let limit = DryRunLimit(
                        rawValue: name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : name
                    )
                else {
                    throw ValueProblem("in \(FaultText.quoted(String(item))): is not one of these limits")
                }
                limits.insert(limit)
            }
            return limits
        },
        show: { limits in
            limits.isEmpty
                ? "none" : DryRunLimit.allCases.filter(limits.contains).map(\.rawValue).joined(separator: ",")
        }
    )
}

extension ValueSyntax where Value == Bool {
    /// The same words as ``boolean``, for features that are switched on and off.
    static let onOff = ValueSyntax(
        accepted: "on or off (also true/false, yes/no, 1/0)",
        read: { text throws(ValueProblem) in
            do throws(ValueProblem) {
                return try boolean.read(text)
            } catch {
                throw ValueProblem("is neither on nor off")
            }
        },
        show: { $0 ? "on" : "off" }
    )
}

extension ValueSyntax where Value == Int? {
    /// A whole number within `range`, or `off` for none.
    static func optionalCount(_ range: ClosedRange<Int>) -> ValueSyntax {
        let number = ValueSyntax<Int>.count(range)
        return ValueSyntax(
            accepted: "\(number.accepted), or off",
            read: { text throws(ValueProblem) in text.lowercased() == "off" ? nil : try number.read(text) },
            show: { $0.map(number.show) ?? "off" }
        )
    }
}

/// Whether the text is a word for an empty list.
private func isNone(_ text: String) -> Bool {
    text.lowercased() == "none"
}
