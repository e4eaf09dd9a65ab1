public import NIOCore

/// A kind of load balancer or proxy in front, with its default timeouts.
///
/// The raw value is the word in `LB`.
public enum LoadBalancerPreset: String, Sendable, Equatable, CaseIterable {
    case awsALB = "aws-alb"
    case awsNLB = "aws-nlb"
    case awsCLB = "aws-clb"
    case cloudfront
    case cloudflare
    case gcpALB = "gcp-alb"
    case gcpTCP = "gcp-tcp"
    case azureAppGateway = "azure-appgw"
    case azureFrontDoor = "azure-frontdoor"
    case azureLB = "azure-lb"
    case heroku
    case fly
    case railway
    case digitalOcean = "digitalocean"
    case nginx
    case ingressNginx = "ingress-nginx"
    case haproxy
    case openshift
    case envoy
    case istio
    case traefik
    case caddy
    case apache
    case varnish
    case mobile

    /// How long the hop lets a connection be silent; nil when it does not look.
    public var idleTimeout: TimeAmount? { row.idle.map { .seconds($0) } }

    /// How long the hop lets a connection live, whatever moves on it; nil for ever.
    public var absoluteTimeout: TimeAmount? { row.absolute.map { .seconds($0) } }

    /// What to know about it, as a sentence; may be empty.
    public var note: String { row.note }

    private typealias Row = (idle: Int64?, absolute: Int64?, note: String)

    private var row: Row {
        switch self {
        case .awsALB: (60, nil, "configurable from 1 to 4000 s; HTTP/2 PING does not count, data bytes do")
        case .awsNLB: (350, nil, "fixed for TLS listeners")
        case .awsCLB: (60, nil, "TCP keep-alive does not count")
        case .cloudfront: (600, nil, "counts only bytes from origin to client, so server pings but not the client's")
        case .cloudflare: (100, nil, "not documented for WebSockets; edge restarts also end connections")
        case .gcpALB:
            (nil, 30, "the backend service timeout is a lifetime: raise it, 86400 s at most, or all end at 30 s")
        case .gcpTCP: (600, nil, "connection tracking of the VPC")
        case .azureAppGateway:
            (20, nil, "the request timeout applies to WebSockets too; 20 s in the portal, 30 in scripts")
        case .azureFrontDoor: (300, 14_400, "")
        case .azureLB: (240, nil, "drops silently unless TCP reset is on")
        case .heroku: (55, nil, "rolling, either direction")
        case .fly: (60, nil, "according to its older documentation")
        case .railway, .digitalOcean: (60, nil, "")
        case .nginx, .ingressNginx:
            (60, nil, "proxy_read_timeout; a reload ends connections at worker_shutdown_timeout")
        case .haproxy:
            (60, nil, "no built-in value; timeout tunnel applies after the upgrade, examples use 60 s and more")
        case .openshift: (30, nil, "the client timeout")
        case .envoy: (300, nil, "stream_idle_timeout; the route's timeout of 15 s must be off for upgrades")
        case .istio: (3_600, nil, "the TCP idle timeout")
        case .traefik: (nil, nil, "none after the upgrade")
        case .caddy: (nil, nil, "none after the upgrade; a reload closes streams unless stream_close_delay is set")
        case .apache: (60, nil, "ProxyTimeout")
        case .varnish: (60, nil, "pipe_timeout")
        case .mobile: (30, nil, "NAT of mobile carriers, a cautious value")
        }
    }
}
