internal import SidecarCore

/// What the user asked the program to do.
enum Command: Equatable {
    /// Serve.
    case run
    /// Validate the settings, print those in force, and end.
    case check
    case help
    case version
}

/// The program's arguments, taken apart: what to do, and the flags as the first of the settings.
struct Invocation {
    var command: Command
    /// The flags, and faults for arguments that mean nothing.
    var settings: RawSettings
    /// The file whose variables take the place of the environment's (`check --env-file`).
    private(set) var environmentFile: String?

    private static let words: Set<String> = ["check", "--help", "-h", "--version"]

    /// Reads `arguments`, the program's own name left out. Asking for help or version wins over everything else.
    init(arguments: [String]) {
        settings = RawSettings()
        let (arguments, file) = Self.withoutEnvironmentFile(arguments)
        let rest = settings.add(arguments: arguments, reserved: Self.words)
        command = rest.contains("check") ? .check : .run
        if rest.contains("--version") { command = .version }
        if rest.contains("--help") || rest.contains("-h") { command = .help }
        for word in rest where !Self.words.contains(word) {
            settings.addUnknownWord(word)
        }
        switch file {
        case .none: break
        case .named(let path) where command == .check: environmentFile = path
        case .named(let path): settings.addUnreadableEnvironmentFile(path: path, reason: "is for sidesocket check only")
        case .unnamed: settings.addUnreadableEnvironmentFile(path: nil, reason: "names no file")
        }
    }

    private enum FileArgument { case none, named(String), unnamed }

    /// Takes `--env-file FILE` or `--env-file=FILE` out of the arguments; the last one counts.
    private static func withoutEnvironmentFile(_ arguments: [String]) -> ([String], FileArgument) {
        let flag = "--env-file"
        var rest: [String] = []
        var file = FileArgument.none
        var remaining = arguments[...]
        while let argument = remaining.popFirst() {
            if argument.hasPrefix(flag + "=") {
                let path = String(argument.dropFirst(flag.count + 1))
                file = path.isEmpty ? .unnamed : .named(path)
            } else if argument == flag {
                if let path = remaining.first, !path.hasPrefix("--"), !path.isEmpty, !words.contains(path) {
                    remaining.removeFirst()
                    file = .named(path)
                } else {
                    file = .unnamed
                }
            } else {
                rest.append(argument)
            }
        }
        return (rest, file)
    }

    /// The text of `sidesocket --help`: every variable of the registry, by group.
    static func helpText(registry: SettingsRegistry = .standard) -> String {
        var text = """
            sidesocket: WebSockets for an HTTP app

            Usage:
              sidesocket --app-url URL [flags]   serve
              sidesocket check [flags]           check the settings and the files they name, then print the settings in force
              sidesocket check --env-file FILE   the same for the variables in an environment file of systemd
              sidesocket --help | --version

            Every setting is a flag, an environment variable, and a key of the JSON or YAML file that SIDESOCKET_CONFIG
            names. Flags take precedence over the environment, and the environment over the file.
            Secrets may be read from files: the flag, variable or key with -file or _FILE after its name gives the path.

            """
        for group in SettingGroup.allCases {
            text += "\n\(group.rawValue)\n"
            for definition in registry.definitions where definition.group == group {
                text += """
                      \(definition.flag)  \(definition.environmentName)
                          \(definition.meaning)
                          Accepted: \(definition.accepted).
                          \(definition.isRequired ? "Required" : "Default: \(definition.defaultText)").

                    """
                if definition.isSecret {
                    text +=
                        "      Or the path of a file: \(definition.flag)-file, \(definition.environmentName)_FILE.\n"
                }
            }
        }
        return text
    }

    /// The text of `sidesocket check`: one line a variable, those that differ from their default marked with `*`.
    static func checkText(_ settings: Settings) -> String {
        let table = settings.effectiveTable()
        let width = table.map(\.variable.count).max() ?? 0
        return table.map { row in
            let padding = String(repeating: " ", count: width - row.variable.count)
            return "\(row.isDefault ? " " : "*") \(row.variable)\(padding) = \(row.value)\n"
        }.joined() + planText(HeartbeatPlan(settings)) + warningText(settings)
    }

    private static func warningText(_ settings: Settings) -> String {
        settings.warnings.isEmpty ? "" : "\n" + settings.warnings.map { "# Warning: \($0).\n" }.joined()
    }

    private static func planText(_ plan: HeartbeatPlan) -> String {
        "\n# Heartbeat\n" + plan.explanation.map { "# \($0)\n" }.joined()
            + plan.warnings.map { "# Warning: \($0).\n" }.joined()
    }
}
