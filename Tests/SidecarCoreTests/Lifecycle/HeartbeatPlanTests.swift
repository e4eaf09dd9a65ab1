import NIOCore
import Testing

@testable import SidecarCore

@Suite("Load balancers and the plan that follows")
struct HeartbeatPlanTests {
    private func settings(_ variables: [String: String]) -> Settings? {
        var raw = RawSettings()
        raw.add(
            environment: Dictionary(
                uniqueKeysWithValues: variables.map { ("SIDESOCKET_" + $0.key, $0.value) }
                    + [("SIDESOCKET_APP_URL", "http://app:3000")]
            )
        )
        return try? Settings.parse(raw).get()
    }

    private func plan(_ variables: [String: String]) throws -> HeartbeatPlan {
        HeartbeatPlan(try #require(settings(variables)))
    }

    @Test("The default is a ping every 25 seconds for an idle timeout of a minute")
    func usual() throws {
        let plan = try plan([:])
        #expect(plan.idleTimeout == .seconds(60) && plan.idleSource == .fallback)
        #expect(plan.pingInterval == .seconds(25) && plan.maxAge == nil)
        #expect(plan.warnings == [])
    }

    @Test("The smallest idle value of the chain rules, wherever it stands")
    func chain() throws {
        for chain in ["cloudflare,aws-alb,envoy", "aws-alb,envoy,cloudflare", "ENVOY, Cloudflare ,aws-alb"] {
            let plan = try plan(["LB": chain])
            #expect(plan.idleSource == .hop(.awsALB) && plan.idleTimeout == .seconds(60))
        }
        #expect(try plan(["LB": "cloudflare"]).pingInterval == .nanoseconds(41_666_666_665))
        #expect(try plan(["LB": "none"]).hops == [])
    }

    @Test("A lifetime sets the age to nine tenths, the smallest one of the chain")
    func lifetime() throws {
        let azure = try plan(["LB": "azure-frontdoor"])
        #expect(azure.maxAge == .seconds(12_960) && azure.ageSource == .hop(.azureFrontDoor))
        let both = try plan(["LB": "azure-frontdoor,gcp-alb"])
        #expect(both.maxAge == .seconds(27) && both.idleTimeout == .seconds(300))
        #expect(try plan(["LB": "gcp-alb"]).idleTimeout == .seconds(60))
        #expect(both.warnings == [])
    }

    @Test("A hop without timeouts leaves the default")
    func noTimeouts() throws {
        let plan = try plan(["LB": "traefik,caddy"])
        #expect(plan.pingInterval == .seconds(25) && plan.maxAge == nil && plan.idleSource == .fallback)
    }

    @Test("What is set by itself wins over the presets, and is warned about when they contradict it")
    func contradictions() throws {
        let longer = try plan(["LB": "aws-alb", "LB_IDLE_TIMEOUT": "10m"])
        #expect(longer.idleTimeout == .minutes(10) && longer.pingInterval == .seconds(250))
        #expect(longer.warnings.count == 1)
        #expect(try plan(["LB": "aws-alb", "LB_IDLE_TIMEOUT": "30s"]).warnings == [])
        #expect(try plan(["LB": "aws-alb", "PING_INTERVAL": "off"]).warnings.count == 1)
        #expect(try plan(["PING_INTERVAL": "off"]).warnings == [])
        #expect(try plan(["PING_INTERVAL": "30s"]).warnings == [])
        #expect(try plan(["PING_INTERVAL": "31s"]).warnings.count == 1)
        #expect(try plan(["LB": "gcp-alb", "MAX_CONNECTION_AGE": "off"]).warnings.count == 1)
        #expect(try plan(["LB": "gcp-alb", "MAX_CONNECTION_AGE": "28s"]).warnings.count == 1)
        #expect(try plan(["LB": "gcp-alb", "MAX_CONNECTION_AGE": "27s"]).warnings == [])
    }

    @Test("A ping that comes no earlier than the timeout is an error", arguments: ["60s", "61s", "1h"])
    func lostRace(interval: String) {
        #expect(settings(["PING_INTERVAL": interval]) == nil)
        #expect(settings(["PING_INTERVAL": "59999ms"]) != nil)
        #expect(settings(["PING_INTERVAL": interval, "LB_IDLE_TIMEOUT": "3h"]) != nil)
    }

    @Test("Each preset has a plan that fits itself", arguments: LoadBalancerPreset.allCases)
    func presets(preset: LoadBalancerPreset) throws {
        let plan = try plan(["LB": preset.rawValue])
        #expect(plan.warnings == [] && !plan.losesTheRace)
        let interval = try #require(plan.pingInterval)
        #expect(interval.nanoseconds * 2 <= plan.idleTimeout.nanoseconds)
        if let absolute = preset.absoluteTimeout, let age = plan.maxAge { #expect(age < absolute) }
        #expect(plan.explanation.allSatisfy { $0.hasSuffix(".") })
    }
}

@Suite("Changing settings while it runs")
struct SettingsReloadTests {
    private func settings(_ variables: [String: String]) throws -> Settings {
        var raw = RawSettings()
        raw.add(
            environment: Dictionary(
                uniqueKeysWithValues: variables.map { ("SIDESOCKET_" + $0.key, $0.value) }
                    + [("SIDESOCKET_APP_URL", variables["APP"] ?? "http://app:3000")]
            ).filter { $0.key != "SIDESOCKET_APP" }
        )
        return try Settings.parse(raw).get()
    }

    @Test("What can change does, what needs a restart is named and stays")
    func reload() throws {
        let old = try settings(["MESSAGE_RATE": "5/1s", "THREADS": "2"])
        let new = try settings(["MESSAGE_RATE": "7/1s", "THREADS": "3", "APP": "http://other:1"])
        let reload = old.reloading(new)
        #expect(reload.changed == ["SIDESOCKET_MESSAGE_RATE"])
        #expect(reload.needRestart == ["SIDESOCKET_APP_URL", "SIDESOCKET_THREADS"])
        #expect(reload.settings.messageRate == new.messageRate)
        #expect(reload.settings.threads == 2 && reload.settings.apps == old.apps)
    }

    @Test("The same settings change nothing")
    func same() throws {
        let settings = try settings([:])
        let reload = settings.reloading(settings)
        #expect(reload.changed == [] && reload.needRestart == [] && reload.settings == settings)
    }

    @Test("Every variable that needs a restart exists")
    func names() {
        #expect(SettingsRegistry.needRestart.allSatisfy { SettingsRegistry.standard[$0] != nil })
    }
}
