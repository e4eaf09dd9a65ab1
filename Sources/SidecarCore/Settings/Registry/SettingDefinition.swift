/// One variable: its name, its syntax, its property in ``Settings``, and its meaning.
public struct SettingDefinition: Sendable {
    /// The name without prefix, `MAX_MESSAGE_BYTES`.
    public let name: String
    /// The table that help and documentation list it in.
    public let group: SettingGroup
    /// One plain sentence on what it does.
    public let meaning: String
    /// What a user may write, in words.
    public let accepted: String
    /// The default as a user would write it, or words such as `number of cores`.
    public let defaultText: String
    /// Whether its value is never shown, or only without what is secret in it, and can also be read from the file that
    /// `NAME_FILE` names.
    public let isSecret: Bool
    /// Whether it must be set.
    public let isRequired: Bool

    let takesList: Bool
    let takesEmpty: Bool
    let read: @Sendable (String, inout Settings) throws(ValueProblem) -> Void
    /// Copies the value from other settings.
    let copy: @Sendable (Settings, inout Settings) -> Void
    /// The value in `settings` as a user would write it; nil when unset.
    let show: @Sendable (Settings) -> String?
    /// The value of a secret without what is secret in it; nil when unset. There is no such function where neither a
    /// part of the value nor the problem of a faulty one may be shown.
    let showRedacted: (@Sendable (Settings) -> String?)?

    /// The environment variable, `SIDESOCKET_MAX_MESSAGE_BYTES`.
    public var environmentName: String { SettingsRegistry.prefix + name }

    /// The command-line flag, `--max-message-bytes`.
    public var flag: String { Self.flag(for: name) }

    static func flag(for name: String) -> String {
        "--" + String(name.lowercased().map { $0 == "_" ? "-" : $0 })
    }

    /// A variable that always has a value; its default is the property's own.
    init<Value>(
        _ name: String,
        _ group: SettingGroup,
        _ property: any WritableKeyPath<Settings, Value> & Sendable,
        _ syntax: ValueSyntax<Value>,
        isRequired: Bool = false,
        isSecret: Bool = false,
        _ meaning: String
    ) {
        var showRedacted: (@Sendable (Settings) -> String?)?
        if let redacted = syntax.redacted { showRedacted = { redacted($0[keyPath: property]) } }
        self.init(
            name: name,
            group: group,
            meaning: meaning,
            accepted: syntax.accepted,
            defaultText: isRequired ? "required" : syntax.show(SettingsRegistry.defaults[keyPath: property]),
            isSecret: isSecret,
            isRequired: isRequired,
            takesList: syntax.takesList,
            takesEmpty: syntax.takesEmpty,
            read: { text, settings throws(ValueProblem) in settings[keyPath: property] = try syntax.read(text) },
            copy: { $1[keyPath: property] = $0[keyPath: property] },
            show: { syntax.show($0[keyPath: property]) },
            showRedacted: showRedacted
        )
    }

    /// A variable that may be unset; `unset` says what happens then.
    init<Value>(
        _ name: String,
        _ group: SettingGroup,
        _ property: any WritableKeyPath<Settings, Value?> & Sendable,
        _ syntax: ValueSyntax<Value>,
        unset: String,
        isSecret: Bool = false,
        _ meaning: String
    ) {
        var showRedacted: (@Sendable (Settings) -> String?)?
        if let redacted = syntax.redacted { showRedacted = { $0[keyPath: property].map(redacted) } }
        self.init(
            name: name,
            group: group,
            meaning: meaning,
            accepted: syntax.accepted,
            defaultText: unset,
            isSecret: isSecret,
            isRequired: false,
            takesList: syntax.takesList,
            takesEmpty: syntax.takesEmpty,
            read: { text, settings throws(ValueProblem) in settings[keyPath: property] = try syntax.read(text) },
            copy: { $1[keyPath: property] = $0[keyPath: property] },
            show: { $0[keyPath: property].map(syntax.show) },
            showRedacted: showRedacted
        )
    }

    private init(
        name: String,
        group: SettingGroup,
        meaning: String,
        accepted: String,
        defaultText: String,
        isSecret: Bool,
        isRequired: Bool,
        takesList: Bool,
        takesEmpty: Bool,
        read: @escaping @Sendable (String, inout Settings) throws(ValueProblem) -> Void,
        copy: @escaping @Sendable (Settings, inout Settings) -> Void,
        show: @escaping @Sendable (Settings) -> String?,
        showRedacted: (@Sendable (Settings) -> String?)?
    ) {
        self.name = name
        self.group = group
        self.meaning = meaning
        self.accepted = accepted
        self.defaultText = defaultText
        self.isSecret = isSecret
        self.isRequired = isRequired
        self.takesList = takesList
        self.takesEmpty = takesEmpty
        self.read = read
        self.copy = copy
        self.show = show
        self.showRedacted = showRedacted
    }
}

/// The tables of variables, in the order that help and documentation show them.
public enum SettingGroup: String, Sendable, CaseIterable {
    case addresses = "Addresses and the app"
    case process = "Process and logs"
    case identity = "Identity and transport"
    case admission = "Who may connect"
    case limits = "Limits on clients"
    case life = "Heartbeats and shutdown"
    case webhook = "Calls to the app"
    case channels = "Channels"
    case clientProtocol = "Client protocol"
    case cluster = "Several nodes"
}
