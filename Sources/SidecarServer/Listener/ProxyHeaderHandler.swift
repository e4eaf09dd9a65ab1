import NIOCore
import SidecarCore

/// Reads the PROXY header at the start of a connection, before TLS (`PROXY_PROTOCOL`).
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
