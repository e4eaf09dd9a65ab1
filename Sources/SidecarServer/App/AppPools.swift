import NIOCore
import SidecarCore

/// The connections of one event loop to all addresses of the app.
final class AppPools: AppCaller {
    private let gate: WebhookGate
    /// One for each address of ``Settings/webhookOrigins``.
    let webhook: [AppPool]
    /// One for each address of ``Settings/apps``; the same ones when events go there too.
    private let proxy: [AppPool]
    /// Whether passed requests and events go to the same addresses, so that the gate knows how those are.
    private let sharesAddresses: Bool

    /// - Parameter makePool: Makes the connections to one address.
    init(settings: Settings, gate: WebhookGate, makePool: (AppOrigin) -> AppPool) {
        self.gate = gate
        sharesAddresses = settings.webhookTarget?.origin == nil
        proxy = settings.apps.map(makePool)
        webhook = sharesAddresses ? proxy : settings.webhookOrigins.map(makePool)
    }

    /// All of them.
    var all: [AppPool] { sharesAddresses ? proxy : webhook + proxy }

    func call(_ address: Int, for exchange: any AppExchange, fresh: Bool) -> Bool {
        guard webhook.indices.contains(address) else { return false }
        webhook[address].run(exchange, fresh: fresh)
        return true
    }

    /// The connections for a request that is passed through: of the addresses that are well, the one with the fewest
    /// under way here.
    ///
    /// - Parameter other: An address that has just refused; it is taken only if there is no other.
    func forRequest(otherThan other: AppPool? = nil) -> AppPool? {
        if proxy.count == 1 { return proxy.first }
        let rest = proxy.indices.filter { proxy[$0] !== other }
        let well = rest.filter { !sharesAddresses || gate.admits($0) }
        return (well.isEmpty ? rest : well).map { proxy[$0] }.min { $0.inUse < $1.inUse } ?? proxy.first
    }

    /// True when a request that one address refused may go to another.
    var hasSeveralAddresses: Bool { proxy.count > 1 }
}
