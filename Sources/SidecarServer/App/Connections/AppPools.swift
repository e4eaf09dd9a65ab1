import NIOCore
import SidecarCore

/// The connections of one event loop to all addresses of the app.
final class AppPools: AppCaller {
    private let gate: WebhookGate
    /// One for each address of ``Settings/webhookOrigins``.
    let webhook: [AppPool]
    /// One for each address of ``Settings/apps``; the same objects when events go there too.
    private let proxy: [AppPool]
    /// Whether passed-through requests and events go to the same addresses, so that the gate knows their health.
    private let sharesAddresses: Bool

    /// - Parameter makePool: Makes the connections to one address.
    init(settings: Settings, gate: WebhookGate, makePool: (AppOrigin) -> AppPool) {
        self.gate = gate
        sharesAddresses = settings.webhookTarget?.origin == nil
        proxy = settings.apps.map(makePool)
        webhook = sharesAddresses ? proxy : settings.webhookOrigins.map(makePool)
    }

    /// All pools, each once.
    var all: [AppPool] { sharesAddresses ? proxy : webhook + proxy }

    func call(_ address: Int, for exchange: any AppExchange, fresh: Bool) -> Bool {
        guard webhook.indices.contains(address) else { return false }
        webhook[address].run(exchange, fresh: fresh)
        return true
    }

    /// The pool for a request that is passed through: of the healthy addresses, the one with the fewest exchanges in
    /// flight on this loop.
    ///
    /// - Parameter other: An address that has just refused the connection; used only if there is no other.
    func forRequest(otherThan other: AppPool? = nil) -> AppPool? {
        if proxy.count == 1 { return proxy.first }
        let rest = proxy.indices.filter { proxy[$0] !== other }
        let well = rest.filter { !sharesAddresses || gate.admits($0) }
        return (well.isEmpty ? rest : well).map { proxy[$0] }.min { $0.inUse < $1.inUse } ?? proxy.first
    }

    /// True when a request that one address refused may go to another.
    var hasSeveralAddresses: Bool { proxy.count > 1 }
}
