import NIOCore
import SidecarCore

/// Who the peer of a connection is by a PROXY header, told to the handlers behind.
enum ProxyHeaderEvent {
    /// The header is read; nil when the proxy speaks for itself.
    case named(IPAddress?)
    /// There is none, a bad one, or one from somebody who is not trusted.
    case refused(String)
}

/// Takes the PROXY header off the beginning of a connection, ahead of TLS (`PROXY_PROTOCOL`).
final class ProxyHeaderHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private var decoder: ProxyProtocolDecoder
    private let loop: ClientContext
    private var isRefused = false

    init(mode: ProxyProtocolMode, loop: ClientContext) {
        decoder = ProxyProtocolDecoder(mode: mode)
        self.loop = loop
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        let address = context.remoteAddress
        let peer = address.flatMap { IPAddress($0) }
        let isUnixPeer = address != nil && peer == nil
        if !loop.admission.clients.trusts(peer: peer, isUnixSocket: isUnixPeer) {
            refuse("the peer is not one of TRUSTED_PROXIES", context)
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isRefused else { return }
        var bytes = unwrapInboundIn(data)
        do throws(ProxyProtocolError) {
            guard let header = try decoder.consume(&bytes) else { return }
            context.fireUserInboundEventTriggered(ProxyHeaderEvent.named(header.source))
            if bytes.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(bytes)) }
            context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
        } catch {
            refuse(error.sentence, context)
        }
    }

    private func refuse(_ why: String, _ context: ChannelHandlerContext) {
        isRefused = true
        context.fireUserInboundEventTriggered(ProxyHeaderEvent.refused(why))
    }
}
