extension RawSettings {
    /// Adds the flags among `arguments` (without the program's name) and returns the rest in order.
    ///
    /// Each variable is a flag, `--app-url X` or `--app-url=X`. Arguments in `reserved` and words that belong to no
    /// flag are the rest.
    public mutating func add(arguments: [String], reserved: Set<String>) -> [String] {
        var rest: [String] = []
        var seen: Set<String> = []
        var remaining = arguments[...]
        while let argument = remaining.popFirst() {
            guard argument.hasPrefix("-"), argument != "-", !reserved.contains(argument) else {
                rest.append(argument)
                continue
            }
            let flag = String(argument.prefix { $0 != "=" })
            var text = argument.utf8.count > flag.utf8.count ? String(argument.dropFirst(flag.count + 1)) : nil
            if text == nil, let next = remaining.first, !next.hasPrefix("--"), !reserved.contains(next) {
                text = remaining.removeFirst()
            }
            guard let name = registryName(forFlag: flag) else {
                let nearest = flag.hasPrefix("--") ? registry.nearest(to: Self.name(fromFlag: flag)) : nil
                addUnknown(flag, suggestion: nearest.map(SettingDefinition.flag(for:)))
                continue
            }
            guard let text else {
                add(
                    fault: SettingFault(
                        name: flag,
                        value: nil,
                        problem: "has no value",
                        accepted: registry[name]?.accepted ?? "the path of a file"
                    )
                )
                continue
            }
            guard seen.insert(name).inserted else {
                add(
                    fault: SettingFault(
                        name: flag,
                        value: text,
                        isSecret: registry[name]?.isSecret ?? false,
                        problem: "is given twice",
                        advice: "Give each flag once; lists are comma-separated"
                    )
                )
                continue
            }
            add(flag: SettingValue(name: name, text: text, isList: false, origin: .flag, writtenName: flag))
        }
        return rest
    }

    /// Records an argument that is neither a flag nor a command.
    public mutating func addUnknownWord(_ word: String) {
        add(
            fault: SettingFault(
                name: "argument",
                value: word,
                problem: "is neither a command nor a flag",
                advice: "The only command is check; sidesocket --help lists the flags"
            )
        )
    }

    private func registryName(forFlag flag: String) -> String? {
        let name = Self.name(fromFlag: flag)
        return flag == SettingDefinition.flag(for: name) && registry.accepts(name) ? name : nil
    }

    private static func name(fromFlag flag: String) -> String {
        String(flag.drop { $0 == "-" }.uppercased().map { $0 == "-" ? "_" : $0 })
    }
}
