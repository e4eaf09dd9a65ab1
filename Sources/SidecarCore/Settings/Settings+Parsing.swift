internal import NIOCore

extension Settings {
    /// Reads every value of `raw`: the settings, or the list of all faults.
    ///
    /// A flag wins over the environment, the environment over the file. Values that are overridden are not read;
    /// unknown names are faults wherever they are.
    public static func parse(_ raw: RawSettings) -> Result<Settings, SettingFaults> {
        var settings = SettingsRegistry.defaults
        var faults = raw.faults
        var failed: Set<String> = []
        for definition in raw.registry.definitions {
            do throws(ValueProblem) {
                try read(definition, from: raw, into: &settings)
            } catch {
                failed.insert(definition.name)
                let value = raw.effective(definition.name)
                // The missing value may be in the file that could not be read.
                if value == nil, raw.lacksFile { continue }
                let hidesProblems = definition.isSecret && definition.showRedacted == nil
                faults.append(
                    SettingFault(
                        name: value?.location ?? definition.environmentName,
                        value: value?.text,
                        isSecret: definition.isSecret,
                        problem: hidesProblems ? "has the wrong format" : error.message,
                        accepted: definition.accepted
                    )
                )
            }
        }
        // An absolute WEBHOOK_URL on the app's own origin means the same as its path alone.
        if !failed.contains("APP_URL"), settings.apps.count == 1, settings.webhookTarget?.origin == settings.apps.first
        {
            settings.webhookTarget?.origin = nil
        }
        faults += CrossChecks(settings: settings, raw: raw, failed: failed).faults()
        return faults.isEmpty ? .success(settings) : .failure(SettingFaults(faults: faults))
    }

    private static func read(
        _ definition: SettingDefinition,
        from raw: RawSettings,
        into settings: inout Settings
    ) throws(ValueProblem) {
        guard let value = raw.effective(definition.name) else {
            if definition.isRequired { throw ValueProblem("is required but not set") }
            return
        }
        guard definition.takesList || !value.isList else { throw ValueProblem("is a list where one value belongs") }
        guard definition.takesEmpty || !value.text.isEmpty else {
            throw ValueProblem("is empty" + (definition.isRequired ? "" : "; leave it out for the default"))
        }
        try definition.read(value.text, &settings)
    }

    /// Every variable with the value in force, secrets redacted; for `check` and the log line at start.
    ///
    /// A variable that is not set shows its default in words.
    public func effectiveTable(
        registry: SettingsRegistry = .standard
    ) -> [(variable: String, value: String, isDefault: Bool)] {
        registry.definitions.map { definition in
            let value = definition.show(self)
            let isDefault = value == definition.show(SettingsRegistry.defaults) && !definition.isRequired
            let shown = value.map { definition.isSecret ? FaultText.redacted : FaultText.withoutQuery($0) }
            let part = definition.isSecret ? definition.showRedacted?(self) : nil
            return (definition.environmentName, part ?? shown ?? definition.defaultText, isDefault)
        }
    }
}

/// Checks of one value against another.
struct CrossChecks {
    let settings: Settings
    let raw: RawSettings
    /// Variables that have a fault already; checks that depend on them are skipped.
    let failed: Set<String>

    func faults() -> [SettingFault] {
        [
            listenersApart(),
            settings.apps.lazy.compactMap { isNotUs("APP_URL", $0) }.first,
            isNotUs("WEBHOOK_URL", settings.webhookTarget?.origin),
            authoritiesAreOfUse(),
            proxyHeadersComeFromSomebody(),
            readinessCanBeKnown(),
            pingsWinTheRace(),
        ].compactMap { $0 } + identityFaults().compactMap { $0 }
    }

    private func listenersApart() -> SettingFault? {
        for address in settings.controlListen {
            guard let other = settings.listen.first(where: { $0.collides(with: address) }) else { continue }
            let name = raw.effective("CONTROL_LISTEN") == nil ? "LISTEN" : "CONTROL_LISTEN"
            return fault(
                name,
                among: ["LISTEN", "CONTROL_LISTEN"],
                problem: "public and control listener would share an address, \(other) and \(address)",
                accepted: "different ports for SIDESOCKET_LISTEN and SIDESOCKET_CONTROL_LISTEN"
            )
        }
        return nil
    }

    /// A sidecar that calls itself would do so until it runs out of sockets.
    private func isNotUs(_ name: String, _ origin: AppOrigin?) -> SettingFault? {
        guard let origin else { return nil }
        for (listener, addresses) in [("LISTEN", settings.listen), ("CONTROL_LISTEN", settings.controlListen)] {
            guard let own = addresses.first(where: { $0.answers(origin) }) else { continue }
            return fault(
                name,
                among: [name, listener],
                problem: "is Sidesocket's own address, \(SettingsRegistry.prefix)\(listener) \(own)",
                accepted: "the app's address, on another port"
            )
        }
        return nil
    }

    private func authoritiesAreOfUse() -> SettingFault? {
        guard settings.appCAFile != nil, !settings.callsOverTLS else { return nil }
        return fault(
            "APP_CA_FILE",
            among: ["APP_CA_FILE", "APP_URL", "WEBHOOK_URL"],
            problem: "has no effect: nothing is called over https",
            advice: "Set an https:// SIDESOCKET_APP_URL, or leave it out"
        )
    }

    /// A PROXY header is accepted from a trusted peer only, so without one no connection could begin.
    private func proxyHeadersComeFromSomebody() -> SettingFault? {
        guard settings.proxyProtocol != nil, settings.trustedProxies.isEmpty else { return nil }
        return fault(
            "PROXY_PROTOCOL",
            among: ["PROXY_PROTOCOL", "TRUSTED_PROXIES"],
            problem: "needs trusted proxies, but SIDESOCKET_TRUSTED_PROXIES is empty, so every connection would "
                + "be refused",
            advice: "Set SIDESOCKET_TRUSTED_PROXIES to the addresses of the proxies in front, "
                + "such as 10.0.0.0/8 or private"
        )
    }

    /// Without a health check the app would be unknown until the first request, so the process could never become
    /// ready.
    private func readinessCanBeKnown() -> SettingFault? {
        guard settings.readyNeedsApp, settings.appHealthPath == nil else { return nil }
        return fault(
            "READY_NEEDS_APP",
            among: ["READY_NEEDS_APP", "APP_HEALTH_PATH"],
            problem: "needs a health check, but SIDESOCKET_APP_HEALTH_PATH is not set",
            advice: "Set SIDESOCKET_APP_HEALTH_PATH to a path of the app such as /healthz"
        )
    }

    /// A ping that is due only when the hop's timeout ends comes too late: every idle socket would be dropped.
    private func pingsWinTheRace() -> SettingFault? {
        let plan = HeartbeatPlan(settings)
        guard plan.losesTheRace else { return nil }
        let half = showDuration(.nanoseconds(plan.idleTimeout.nanoseconds / 2))
        return fault(
            "PING_INTERVAL",
            among: ["PING_INTERVAL", "LB_IDLE_TIMEOUT", "LB"],
            problem: "is not below the idle timeout of \(showDuration(plan.idleTimeout)) on the path "
                + "(SIDESOCKET_LB, SIDESOCKET_LB_IDLE_TIMEOUT): idle connections would be dropped there",
            advice: "Set at most half of it, \(half), or leave it out; off sends no pings"
        )
    }

    /// A fault in one of the variables `names`, unless one of them has a fault already.
    func fault(
        _ name: String,
        among names: [String],
        problem: String,
        accepted: String = "",
        advice: String = ""
    ) -> SettingFault? {
        guard failed.isDisjoint(with: names) else { return nil }
        let value = raw.effective(name)
        return SettingFault(
            name: value?.location ?? SettingsRegistry.prefix + name,
            value: value?.text,
            problem: problem,
            accepted: accepted,
            advice: advice
        )
    }
}
