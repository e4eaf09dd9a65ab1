import HTTP1
import Logging
import NIOCore
import SidecarCore

/// One request passed through to the app, streamed in both directions: neither side is read faster than the other
/// takes.
final class ProxyExchange: AppExchange {
    private let head: HTTPRequestHead
    private let target: String
    /// For the log; a query may hold secrets.
    private var path: Substring { target.prefix { $0 != "?" } }
    private let identity: ClientIdentity
    private let loop: ClientContext
    private weak var client: (any ClientExchange)?
    /// A body that has been read before the app is called; nil when it is streamed.
    private var held: (body: HeldBody, trailers: HTTPHeaders?)?
    private var connection: AppConnection?
    private let startedAt = NIODeadline.now()
    private var status = 0
    private var isRecorded = false
    /// Bytes of the reply's body, for the access log.
    private var bytesSent = 0
    private var hasBody = false
    private var hasRetried = false
    private var pool: AppPool?

    /// True when the client's request has been read to its end.
    private(set) var isRequestWhole = false
    /// True when the head of the response has been written to the client.
    private(set) var isReplyBegun = false
    private(set) var isCancelled = false

    /// - Parameter identity: Who the client is, as the app is told.
    init(
        head: HTTPRequestHead,
        target: String,
        from identity: ClientIdentity,
        client: any ClientExchange,
        loop: ClientContext
    ) {
        self.head = head
        self.target = target
        self.identity = identity
        self.client = client
        self.loop = loop
    }

    /// A request whose body has been read whole.
    convenience init(
        _ body: HeldBody,
        to target: String,
        trailers: HTTPHeaders?,
        from identity: ClientIdentity,
        client: any ClientExchange,
        loop: ClientContext
    ) {
        self.init(head: body.head, target: target, from: identity, client: client, loop: loop)
        held = (body, trailers)
        isRequestWhole = true
    }

    func start() {
        run(on: loop.app.forRequest())
    }

    private func run(on pool: AppPool?, fresh: Bool = false) {
        self.pool = pool
        pool?.run(self, fresh: fresh)
    }

    // MARK: From the client

    /// True when the app can take more of the request's body.
    var takesBody: Bool { connection?.isWritable ?? false }

    /// True when the next step is the client's: to send more of its request, or to read more of the response.
    var waitsForClient: Bool {
        guard let client, connection != nil else { return false }
        return (!isRequestWhole && takesBody && !isReplyBegun) || !client.isWritable
    }

    func sendBody(_ bytes: ByteBuffer) {
        guard let connection, bytes.readableBytes > 0 else { return }
        connection.writeBody(bytes, head.framing)
        if !isReplyBegun { connection.setDeadline(.now() + loop.configuration.settings.proxyTimeout) }
    }

    func sendEnd(_ trailers: HTTPHeaders?) {
        isRequestWhole = true
        connection?.endBody(trailers, head.framing)
    }

    func clientWritabilityChanged(isWritable: Bool) {
        if isWritable {
            connection?.resumeReading()
        } else {
            connection?.pauseReading()
        }
        client?.noteProgress()
    }

    /// The client has gone, so the app's reply is not needed any more.
    func clientGone() {
        isCancelled = true
        client = nil
        connection?.abort()
        connection = nil
        record(status: isReplyBegun ? status : 499)
    }

    // MARK: From the app

    func appReady(_ connection: AppConnection) {
        self.connection = connection
        connection.expectReply(
            to: head.method == "HEAD" ? .head : .other,
            by: .now() + loop.configuration.settings.proxyTimeout
        )
        if let held {
            connection.write(writeHead)
            sendBody(held.body.body)
            sendEnd(held.trailers)
        } else if isRequestWhole {
            connection.sendWhole(writeHead)  // the retry of a request without a body
        } else {
            // The available part of the body is sent with it, at the end of the turn.
            connection.write(writeHead)
            client?.pullBody()
            client?.noteProgress()
        }
    }

    private func writeHead(into buffer: inout ByteBuffer) {
        PassThroughHeads.writeRequest(
            head,
            target: target,
            client: identity,
            appAuthority: pool?.origin.authority ?? "",
            preserveHost: loop.configuration.settings.preserveHost,
            into: &buffer
        )
    }

    func appReplied(_ part: HTTPReplyPart) {
        guard let client else { return }
        switch part {
        case .informational(let interim): client.interim(.interim(interim))
        case .head(let reply): begin(reply, client)
        case .body(let bytes): forward(bytes, client)
        case .end(let trailers): complete(trailers, client)
        }
    }

    private func begin(_ reply: HTTPReplyHead, _ client: any ClientExchange) {
        isReplyBegun = true
        held = nil
        status = reply.status
        hasBody = reply.framing != .none
        if loop.configuration.settings.broadcastHeader { publishBroadcasts(of: reply) }
        // Apps that send a body where none is allowed (304, 204, to HEAD) may do so late; it would pass for the next one.
        if !hasBody { connection?.retire() }
        connection?.setDeadline(nil)  // once begun, a reply may pause for any time: it may be a stream
        client.respond(.response(reply))
    }

    /// Publishes what the reply's `Sidesocket-Broadcast` fields ask for; an invalid field does not hold up the reply.
    private func publishBroadcasts(of reply: HTTPReplyHead) {
        for field in BroadcastHeader.all(in: reply.headers) {
            switch field {
            case .success(let broadcast):
                loop.metrics.broadcast(result: .published)
                loop.channels.publish(broadcast.publication, excluding: nil)
            case .failure(let fault):
                loop.metrics.broadcast(result: BroadcastResult(fault))
                loop.log.warn("Sidesocket-Broadcast not published", ["path": "\(path)", "why": "\(fault.sentence)"])
            }
        }
    }

    private func forward(_ bytes: ByteBuffer, _ client: any ClientExchange) {
        guard bytes.readableBytes > 0 else { return }
        if hasBody { bytesSent += bytes.readableBytes }
        client.send(bytes)
        if !client.isWritable { connection?.pauseReading() }
    }

    private func complete(_ trailers: HTTPHeaders?, _ client: any ClientExchange) {
        connection = nil
        record(status: status)
        self.client = nil
        client.end(trailers: trailers)
    }

    func appFailed(_ failure: DeliveryFailure, wasStale: Bool) {
        connection = nil
        guard let client else { return }
        if wasStale, !hasRetried, canRepeat {
            hasRetried = true
            run(on: pool, fresh: true)
            return
        }
        // Nothing has been sent yet, so that another address can take it.
        if case .connect = failure, loop.app.hasSeveralAddresses, !hasRetried, !isReplyBegun {
            hasRetried = true
            run(on: loop.app.forRequest(otherThan: pool))
            return
        }
        self.client = nil
        loop.log.warn(
            "no usable response from the app",
            ["client": "\(identity.address)", "path": "\(path)", "why": "\(failure.sentence)"]
        )
        if isReplyBegun {
            record(status: status)
            client.flush()  // what came before the fault is passed on, without an end
            client.abort()
        } else {
            let refusal = Refusal(failure)
            record(status: refusal.status)
            client.refuse(refusal)
        }
    }

    func appWritabilityChanged(isWritable: Bool) {
        if isWritable {
            client?.pullBody()
            client?.noteProgress()
        }
    }

    func appReadComplete() {
        client?.flush()
        client?.noteProgress()
    }

    private func record(status: Int) {
        guard !isRecorded else { return }
        isRecorded = true
        let nanoseconds = (NIODeadline.now() - startedAt).nanoseconds
        loop.metrics.proxied(status: status, nanoseconds: nanoseconds)
        guard loop.configuration.settings.accessLog else { return }
        loop.log.logger.info(
            "request",
            metadata: [
                "method": "\(head.method)", "path": "\(target.prefix { $0 != "?" })", "client": "\(identity.address)",
                "status": .stringConvertible(status), "bytes": .stringConvertible(bytesSent),
                "duration_ms": .stringConvertible((Double(nanoseconds) / 100_000).rounded() / 10),
            ]
        )
    }

    /// True for a request without a body whose method is safe to repeat (RFC 9110 §9.2.2).
    private var canRepeat: Bool {
        guard isRequestWhole, head.framing == .none || head.framing == .length(0) else { return false }
        return ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].contains(head.method)
    }
}
