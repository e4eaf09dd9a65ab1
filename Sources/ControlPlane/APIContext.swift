internal import Hummingbird
internal import NIOCore

/// A request of the control listener, with the address that it came from.
struct ControlContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The peer's address, or `unix:`.
    let peer: String

    init(source: ApplicationRequestContextSource) {
        self.coreContext = .init(source: source)
        self.peer = source.channel.remoteAddress?.ipAddress ?? "unix:"
    }
}
