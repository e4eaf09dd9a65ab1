import HTTP1
import Logging
import NIOCore
import SidecarCore

/// One request passed through to the app, streamed both ways: neither side is read faster than the other takes.
final class ProxyExchange: AppExchange {
    /// More than this stands between its delimiters instead of being copied there, in bytes.
    private static let copyThreshold = 4096
    private static let chunkEnd = {
        var end = ByteBuffer()
        ChunkWriter.writeEnd(into: &end)
        return end
    }()

    private let head: HTTPRequestHead
    private let target: String
    /// For the log: a query may hold secrets.
    private var path: Substring { target.prefix { $0 != "?" } }
    private let client: ClientIdentity
    private let clientKeepAlive: Bool
    private let shard: LoopShard
    private weak var handler: EdgeHTTPHandler?
    /// A body that has been read before the app was asked; nil when it is streamed.
    private var held: (inspection: BodyInspection, trailers: HTTPHeaders?)?
    private var connection: AppConnection?
    private let startedAt = NIODeadline.now()
    private var status = 0
    private var isRecorded = false
    /// Of the body, for the access log.
    private var bytesSent = 0
    private var framing = PassThroughHeads.ClientFraming.none
    private var keepsAlive = false
    private var hasRetried = false
    private var pool: AppPool?

    /// True when the client's request has been read to its end.
    private(set) var isRequestWhole = false
    /// True when the head of the app's answer has been written to the client.
    private(set) var isReplyBegun = false
    private(set) var isCancelled = false

    init(
        head: HTTPRequestHead,
        target: String,
        client: ClientIdentity,
        keepAlive: Bool,
        handler: EdgeHTTPHandler
    ) {
        self.head = head
        self.target = target
        self.client = client
        self.clientKeepAlive = keepAlive
        self.handler = handler
        self.shard = handler.shard
    }

    /// A request whose body has been read whole.
    convenience init(
        _ inspection: BodyInspection,
        trailers: HTTPHeaders?,
        client: ClientIdentity,
        handler: EdgeHTTPHandler
    ) {
        self.init(
            head: inspection.head,
            target: inspection.target,
            client: client,
            keepAlive: inspection.keepAlive,
            handler: handler
        )
        held = (inspection, trailers)
        isRequestWhole = true
    }

    func start() {
        run(on: shard.app.forRequest())
    }

    private func run(on pool: AppPool?, fresh: Bool = false) {
        self.pool = pool
        pool?.run(self, fresh: fresh)
    }

    // MARK: From the client

    /// True when the app can take more of the request's body.
    var takesBody: Bool { connection?.isWritable ?? false }

    /// True when the next step is the client's: to send more of its request, or to read more of the answer.
    var waitsForClient: Bool {
        guard let handler, connection != nil else { return false }
        return (!isRequestWhole && takesBody && !isReplyBegun) || !handler.isClientWritable
    }

    func sendBody(_ bytes: ByteBuffer) {
        guard let connection, bytes.readableBytes > 0 else { return }
        if head.framing == .chunked {
            writeChunk(bytes, with: connection.write)
        } else {
            connection.write(bytes)
        }
        if !isReplyBegun { connection.setDeadline(.now() + shard.configuration.settings.proxyTimeout) }
    }

    func sendEnd(_ trailers: HTTPHeaders?) {
        isRequestWhole = true
        guard let connection else { return }
        if head.framing == .chunked {
            var last = ByteBuffer()
            ChunkWriter.writeLast(trailers: trailers, into: &last)
            connection.write(last)
        }
        connection.requestIsWhole()
    }

    func clientWritabilityChanged(isWritable: Bool) {
        if isWritable {
            connection?.resumeReading()
        } else {
            connection?.pauseReading()
        }
        handler?.noteProgress()
    }

    /// The client has gone, so the app need not work for it any more.
    func clientGone() {
        isCancelled = true
        handler = nil
        connection?.abort()
        connection = nil
        record(status: isReplyBegun ? status : 499)
    }

    // MARK: From the app

    func appReady(_ connection: AppConnection) {
        self.connection = connection
        connection.expectReply(
            to: head.method == "HEAD" ? .head : .other,
            by: .now() + shard.configuration.settings.proxyTimeout
        )
        if let held {
            connection.write(writeHead)
            sendBody(held.inspection.body)
            sendEnd(held.trailers)
        } else if isRequestWhole {
            connection.sendWhole(writeHead)  // the retry of a request without a body
        } else {
            // What is there of the body goes out with it, at the end of the turn.
            connection.write(writeHead)
            handler?.pump()
            handler?.noteProgress()
        }
    }

    private func writeHead(into buffer: inout ByteBuffer) {
        PassThroughHeads.writeRequest(
            head,
            target: target,
            client: client,
            appAuthority: pool?.origin.authority ?? "",
            preserveHost: shard.configuration.settings.preserveHost,
            into: &buffer
        )
    }

    func appReplied(_ part: HTTPReplyPart) {
        guard let handler else { return }
        switch part {
        case .informational(let interim):
            if head.minorVersion >= 1 {
                var bytes = ByteBuffer()
                PassThroughHeads.writeInterim(interim, into: &bytes)
                handler.write(bytes)
                handler.flush()
            }
        case .head(let reply):
            begin(reply, handler)
        case .body(let bytes):
            forward(bytes, handler)
        case .end(let trailers):
            complete(trailers, handler)
        }
    }

    private func begin(_ reply: HTTPReplyHead, _ handler: EdgeHTTPHandler) {
        isReplyBegun = true
        held = nil
        status = reply.status
        if shard.configuration.settings.broadcastHeader { publishBroadcasts(of: reply) }
        // Apps that send a body all the same (304, 204, to HEAD) may do so late, when it would pass for the next answer.
        if reply.framing == .none { connection?.retire() }
        connection?.setDeadline(nil)  // once it speaks, the app may be silent as long as it likes: it may be a stream
        keepsAlive = clientKeepAlive && isRequestWhole && !handler.isLastAnswer
        shard.scratch.clear()
        framing = PassThroughHeads.writeReply(
            reply,
            clientMinorVersion: head.minorVersion,
            keepAlive: keepsAlive,
            into: &shard.scratch
        )
        if framing == .untilClose { keepsAlive = false }
        handler.write(shard.scratch)
    }

    /// An answer tells channels about what it did; a field that cannot be published does not hold up the answer.
    private func publishBroadcasts(of reply: HTTPReplyHead) {
        for field in BroadcastHeader.all(in: reply.headers) {
            switch field {
            case .success(let broadcast):
                shard.metrics.broadcast(result: .published)
                shard.channels.publish(broadcast.publication, excluding: nil)
            case .failure(let fault):
                shard.metrics.broadcast(result: BroadcastResult(fault))
                shard.log.warn("Sidesocket-Broadcast not published", ["path": "\(path)", "why": "\(fault.sentence)"])
            }
        }
    }

    private func forward(_ bytes: ByteBuffer, _ handler: EdgeHTTPHandler) {
        guard bytes.readableBytes > 0 else { return }
        if framing != .none { bytesSent += bytes.readableBytes }
        switch framing {
        case .none: break
        case .length, .untilClose: handler.write(bytes)
        case .chunked: writeChunk(bytes, with: handler.write)
        }
        if !handler.isClientWritable { connection?.pauseReading() }
    }

    private func complete(_ trailers: HTTPHeaders?, _ handler: EdgeHTTPHandler) {
        connection = nil
        if framing == .chunked {
            var last = ByteBuffer()
            ChunkWriter.writeLast(trailers: trailers, into: &last)
            handler.write(last)
        }
        record(status: status)
        self.handler = nil
        handler.exchangeCompleted(keepAlive: keepsAlive && isRequestWhole)
    }

    func appFailed(_ failure: DeliveryFailure, wasStale: Bool) {
        connection = nil
        guard let handler else { return }
        if wasStale, !hasRetried, canRepeat {
            hasRetried = true
            run(on: pool, fresh: true)
            return
        }
        // Nothing has been sent yet, so that another address can take it.
        if case .connect = failure, shard.app.hasSeveralAddresses, !hasRetried, !isReplyBegun {
            hasRetried = true
            run(on: shard.app.forRequest(otherThan: pool))
            return
        }
        self.handler = nil
        shard.log.warn(
            "no usable response from the app",
            ["client": "\(client.address)", "path": "\(path)", "why": "\(failure.sentence)"]
        )
        if isReplyBegun {
            record(status: status)
            handler.flush()  // what came before the fault is the client's; the missing end tells the rest
            handler.endNow()
        } else {
            let refusal = Refusal(failure)
            record(status: refusal.status)
            handler.refuse(refusal)
        }
    }

    func appWritabilityChanged(isWritable: Bool) {
        if isWritable {
            handler?.pump()
            handler?.noteProgress()
        }
    }

    func appReadComplete() {
        handler?.flush()
        handler?.noteProgress()
    }

    private func writeChunk(_ bytes: ByteBuffer, with write: (ByteBuffer, ByteBuffer?) -> Void) {
        let isCopied = bytes.readableBytes <= Self.copyThreshold
        var chunk = ByteBufferAllocator().buffer(capacity: 20 + (isCopied ? bytes.readableBytes : 0))
        ChunkWriter.writeStart(byteCount: bytes.readableBytes, into: &chunk)
        if isCopied {
            chunk.writeImmutableBuffer(bytes)
            ChunkWriter.writeEnd(into: &chunk)
            write(chunk, nil)
        } else {
            write(chunk, nil)
            write(bytes, Self.chunkEnd)
        }
    }

    private func record(status: Int) {
        guard !isRecorded else { return }
        isRecorded = true
        let nanoseconds = (NIODeadline.now() - startedAt).nanoseconds
        shard.metrics.proxied(status: status, nanoseconds: nanoseconds)
        guard shard.configuration.settings.accessLog else { return }
        shard.log.logger.info(
            "request",
            metadata: [
                "method": "\(head.method)", "path": "\(target.prefix { $0 != "?" })", "client": "\(client.address)",
                "status": .stringConvertible(status), "bytes": .stringConvertible(bytesSent),
                "duration_ms": .stringConvertible((Double(nanoseconds) / 100_000).rounded() / 10),
            ]
        )
    }

    /// True for a request without a body whose method may be repeated without harm (RFC 9110 §9.2.2).
    private var canRepeat: Bool {
        guard isRequestWhole, head.framing == .none || head.framing == .length(0) else { return false }
        return ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].contains(head.method)
    }
}
