internal import Hummingbird
internal import NIOCore

/// A request of the control listener, with the address that it came from.
struct ControlContext: RequestContext {
    typealias Encoder = JSONResponseEncoder

    var coreContext: CoreRequestContextStorage
    let responseEncoder = JSONResponseEncoder()
    /// The peer's address, or `unix:`.
    let peer: String
    private let channel: any Channel

    init(source: ApplicationRequestContextSource) {
        self.coreContext = .init(source: source)
        self.channel = source.channel
        self.peer = source.channel.remoteAddress?.ipAddress ?? "unix:"
    }

    /// Tells a client that waits for it to send its body.
    func wantsBody() { self.channel.triggerUserOutboundEvent(BodyWanted(), promise: nil) }
}
