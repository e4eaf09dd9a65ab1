extension Settings {
    /// Settings that are allowed but probably not intended, one sentence each without its full stop; for `check` and
    /// the log at the start.
    public var warnings: [String] {
        [anyPage, anyProxy, namelessProxy, unsignedWebhook, protocolOff].compactMap(\.self) + clusterWarnings
    }

    private var anyPage: String? {
        guard allowedOrigins.policy.allowsAny else { return nil }
        return "SIDESOCKET_ALLOWED_ORIGINS is *: the pages of any site can open WebSockets with your users' cookies; "
            + "list the origins of your pages"
    }

    private var anyProxy: String? {
        guard let network = trustedProxies.networks.first(where: { $0.prefixLength == 0 }) else { return nil }
        return "SIDESOCKET_TRUSTED_PROXIES has \(network): any client can claim any address, which escapes every "
            + "limit and ban by address; list the addresses of your proxies"
    }

    /// The webhook path protects the app only against requests through Sidesocket: a client with direct access can send
    /// events.
    private var unsignedWebhook: String? {
        guard webhookTarget != nil, webhookIsOnApp, webhookSecrets == nil else { return nil }
        return "SIDESOCKET_WEBHOOK_URL is on the app, but SIDESOCKET_WEBHOOK_SECRET is not set: clients are kept "
            + "from that path, but nothing proves that an event is genuine; set a secret, and verify the signature"
    }

    private var protocolOff: String? {
        guard !clientProtocol, httpPaths != nil else { return nil }
        return
            "SIDESOCKET_HTTP_PATHS is set, but SIDESOCKET_PROTOCOL is off, so requests there go to the app; set it to on"
    }

    /// Behind an untrusted proxy, all clients count as one.
    private var namelessProxy: String? {
        guard trustedProxies.isEmpty, let proxy = loadBalancers.first(where: \.hidesClients) else { return nil }
        return
            "SIDESOCKET_LB names \(proxy.rawValue), but SIDESOCKET_TRUSTED_PROXIES is empty, so all clients behind it "
            + "count as one address, which is also what the app sees; set it to the addresses of the proxy"
    }
}

extension LoadBalancerPreset {
    /// Whether such a proxy opens its own connections to us, so that all of them come from its address.
    var hidesClients: Bool {
        switch self {
        case .awsNLB, .gcpTCP, .azureLB, .mobile: false
        default: true
        }
    }
}
