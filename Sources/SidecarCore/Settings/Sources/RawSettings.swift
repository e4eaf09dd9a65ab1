/// Every value that was written somewhere, and every fault found on the way; opens no files.
///
/// Add the flags and the environment, then the file that ``configPath`` names, then resolve the secrets that files
/// hold; ``Settings/parse(_:)`` does the rest.
public struct RawSettings: Sendable, Equatable {
    /// Values in the order in which they were added; every name is in the registry.
    public private(set) var values: [SettingValue] = []
    /// Faults in names and sources.
    public private(set) var faults: [SettingFault] = []
    /// Whether a settings file could not be read: missing values may be in it.
    private(set) var lacksFile = false

    let registry: SettingsRegistry

    /// No values yet; names are looked up in `registry`.
    public init(registry: SettingsRegistry = .standard) {
        self.registry = registry
    }

    /// The value of `name` that wins.
    public func effective(_ name: String) -> SettingValue? {
        values.filter { $0.name == name }.max { $0.origin.rank < $1.origin.rank }
    }

    /// The path of the settings file, if flags or environment name one.
    public var configPath: String? {
        effective("CONFIG").flatMap { $0.text.isEmpty ? nil : $0.text }
    }

    /// Adds the variables that begin with the prefix; ignores all others, and those that Kubernetes injects.
    public mutating func add(environment: [String: String]) {
        for (variable, text) in environment.sorted(by: { $0.key < $1.key }) {
            guard variable.hasPrefix(SettingsRegistry.prefix) else { continue }
            let name = String(variable.dropFirst(SettingsRegistry.prefix.count))
            guard !Self.isInjectedByKubernetes(name) else { continue }
            guard registry.accepts(name) else {
                addUnknown(variable, suggestion: registry.nearest(to: name).map { SettingsRegistry.prefix + $0 })
                continue
            }
            values.append(
                SettingValue(name: name, text: text, isList: false, origin: .environment, writtenName: variable)
            )
        }
    }

    /// With this many faults, unknown keys get no suggestion any more.
    private static let maxSuggestions = 50

    /// Adds the settings of a JSON or YAML file.
    public mutating func add(file bytes: [UInt8], path: String) {
        let document = SettingsFile.read(bytes)
        for fault in document.faults {
            let location = "\(path), line \(fault.line)"
            faults.append(SettingFault(name: location, value: nil, problem: fault.problem, accepted: fault.accepted))
        }
        var seen: [String: Int] = [:]
        for entry in document.entries {
            let name = Self.registryName(forKey: entry.key)
            let location = "\(entry.key) (\(path), line \(entry.line))"
            if let line = seen.updateValue(entry.line, forKey: name) {
                faults.append(
                    SettingFault(
                        name: location,
                        value: nil,
                        problem: "was already given on line \(line)",
                        advice: "Give each setting once"
                    )
                )
            } else if name == "CONFIG" {
                faults.append(
                    SettingFault(
                        name: location,
                        value: nil,
                        problem: "cannot be set in a file",
                        advice: "Use SIDESOCKET_CONFIG or --config"
                    )
                )
            } else if !registry.accepts(name) {
                // A file of another kind gets no suggestion for each of its lines.
                let suggestion = faults.count < Self.maxSuggestions ? registry.nearest(to: name)?.lowercased() : nil
                addUnknown(location, suggestion: suggestion)
            } else {
                values.append(
                    SettingValue(
                        name: name,
                        text: entry.value.text,
                        isList: entry.value.isList,
                        origin: .file(path: path, line: entry.line),
                        writtenName: entry.key
                    )
                )
            }
        }
    }

    /// Records that the settings file could not be read.
    public mutating func addUnreadableFile(path: String, reason: String) {
        lacksFile = true
        let name = effective("CONFIG")?.location ?? "SIDESOCKET_CONFIG"
        faults.append(
            SettingFault(name: name, value: path, problem: reason, accepted: "the path of a JSON or YAML file")
        )
    }

    /// Reads each secret whose `X_FILE` was given. `read` returns a file's bytes or throws why it cannot.
    public mutating func resolveSecretFiles(read: (String) throws(SettingsReadError) -> [UInt8]) {
        for definition in registry.definitions where definition.isSecret {
            guard let file = effective(definition.name + "_FILE") else { continue }
            let accepted = "the path of a file that holds \(definition.environmentName)"
            if let value = effective(definition.name) {
                faults.append(
                    SettingFault(
                        name: file.location,
                        value: file.text,
                        problem: "is given together with \(value.location)",
                        advice: "Give one of the two"
                    )
                )
                continue
            }
            do throws(SettingsReadError) {
                values.append(
                    SettingValue(
                        name: definition.name,
                        text: try Self.secret(in: read(file.text)),
                        isList: false,
                        origin: file.origin,
                        writtenName: file.writtenName
                    )
                )
            } catch {
                faults.append(
                    SettingFault(name: file.location, value: file.text, problem: error.reason, accepted: accepted)
                )
            }
        }
    }

    mutating func add(flag value: SettingValue) {
        values.append(value)
    }

    mutating func add(fault: SettingFault) {
        faults.append(fault)
    }

    /// Records that missing values may be in a file that could not be read.
    mutating func noteMissingFile() { lacksFile = true }

    /// Records an unknown name. Its value is not shown: it may be a secret with its name misspelt.
    mutating func addUnknown(_ name: String, suggestion: String?) {
        faults.append(
            SettingFault(
                name: name,
                value: nil,
                problem: "unknown setting" + (Self.looksInjectedByKubernetes(name) ? Self.serviceLinksHint : ""),
                advice: suggestion.map { "Did you mean \($0)?" } ?? "sidesocket --help lists all settings"
            )
        )
    }

    /// A file's key may be written in lower or upper case, with or without the prefix.
    private static func registryName(forKey key: String) -> String {
        let name = key.uppercased()
        return name.hasPrefix(SettingsRegistry.prefix) ? String(name.dropFirst(SettingsRegistry.prefix.count)) : name
    }

    /// Text editors end a file with a line break, which is not part of the secret.
    private static func secret(in bytes: [UInt8]) throws(SettingsReadError) -> String {
        var bytes = bytes[...]
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
        guard !bytes.isEmpty else { throw SettingsReadError("the file is empty") }
        guard let text = String(validating: bytes, as: UTF8.self), !text.utf8.contains(0) else {
            throw SettingsReadError("the file does not hold text in UTF-8")
        }
        return text
    }

    /// Kubernetes gives every pod variables for a Service named sidesocket in the same namespace.
    private static func isInjectedByKubernetes(_ name: String) -> Bool {
        name == "SERVICE_HOST" || name == "SERVICE_PORT" || name.hasPrefix("SERVICE_PORT_")
            || name == "PORT" || name.hasPrefix("PORT_")
    }

    /// The same variables for a Service whose name only begins with sidesocket.
    private static func looksInjectedByKubernetes(_ name: String) -> Bool {
        name.hasSuffix("_SERVICE_HOST") || name.contains("_SERVICE_PORT")
            || ["_TCP", "_UDP"].contains { name.contains($0) && name.contains("_PORT_") }
    }

    private static let serviceLinksHint =
        "; it looks like one that Kubernetes injects for a Service: set enableServiceLinks: false on the pod"

    /// Compares values and faults, not registries.
    public static func == (left: RawSettings, right: RawSettings) -> Bool {
        left.values == right.values && left.faults == right.faults && left.lacksFile == right.lacksFile
    }
}

/// Why a file could not be read.
public struct SettingsReadError: Error, Equatable {
    /// Words for a message to the user.
    public let reason: String

    /// An error that says `reason`.
    public init(_ reason: String) {
        self.reason = reason
    }
}
