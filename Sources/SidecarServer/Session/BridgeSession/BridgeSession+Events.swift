import CoreMetrics
import HTTP1
import Logging
import NIOCore
import SidecarCore

/// Delivery of events to the app, and what follows when a delivery has ended.
extension BridgeSession: WebhookDeliveryOwner {
    /// - Parameter now: The time, if the caller has it.
    func perform(_ step: consuming SessionStateMachine.Step, at now: NIODeadline? = nil) {
        switch consume step {
        case .wait: break
        case .deliver(let event): deliver(event, at: now)
        case .finish: leaveShard()
        }
    }

    private func deliver(_ event: consuming Delivery, at now: NIODeadline?) {
        let kind = event.event.kind
        if kind == .close, registration?.isClaimed == true {
            // Another node tells the app.
            journal?.finished()
            perform(machine.answered())
            return accountBytes()
        }
        var happenedAt = event.time ?? WallClock.unixMilliseconds()
        if kind == .close, case .close(let report) = (copy event).event {
            happenedAt = recoveredCloseTime ?? happenedAt
            journal?.closing(event.sequence, report, happenedAt)
        }
        let delivery = ConnectionEventDelivery(
            consume event,
            at: happenedAt,
            handshake: kind == .open ? handshake?.request : nil,
            of: prepared,
            metrics: context.metrics.webhook(for: kind),
            owner: self,
            logFields: logFields,
            webhooks: context.webhooks
        )
        self.delivery = delivery
        guard journal != nil, kind != .open else {
            return delivery.start(as: identity.prepared, at: now ?? .now())
        }
        // A reply whose commands close the connection may name its user after that.
        afterJournal(at: now) { delivery.start(as: self.identity.prepared, at: $0) }
    }

    func deliveryEnded(_ delivery: WebhookDelivery, _ result: WebhookResult) -> ReplyEffects {
        guard let current = self.delivery, current === delivery else { return ReplyEffects() }
        let ended = EndedDelivery(current.event, current.rejection)
        guard context.webhooks.logsAttempts else { return ReplyEffects(fault: eventEnded(ended, result)) }
        let (sentBefore, publishedBefore) = (machine.messagesOut, publications)
        return ReplyEffects(
            fault: eventEnded(ended, result),
            sent: machine.messagesOut - sentBefore,
            published: publications - publishedBefore
        )
    }

    /// - Returns: Why the reply could not be applied, although it is well-formed.
    func eventEnded(_ current: EndedDelivery, _ result: WebhookResult) -> DeliveryFailure? {
        guard case .taken(_, .success(let reply)) = result else {
            follow(current, result)
            return nil
        }
        // There is no client for the reply to a close event, so it joins no channels.
        if current.kind != .close, let fault = fault(of: reply) {
            follow(current, result.withFault(fault))
            return fault
        }
        if current.kind == .message { messageAnswered(current, reply) } else { follow(current, result) }
        return nil
    }

    /// A reply that would exceed the limit on channels is invalid, and none of it is applied, also when the client has
    /// gone.
    private func fault(of reply: SessionReply) -> DeliveryFailure? {
        guard reply.changesChannels else { return nil }
        let limit = context.settings.maxChannelsPerConnection
        if reply.channels(after: Set(channels.names), limit: limit) != nil { return nil }
        return .badReply("It would exceed MAX_CHANNELS_PER_CONNECTION.")
    }

    private func follow(_ current: EndedDelivery, _ result: WebhookResult) {
        switch current.kind {
        case .open: openEnded(result)
        case .message: messageFailed(current, result)
        case .revalidate: revalidationEnded(current.sequences, result)
        case .detached, .resumed: sessionEventEnded(current, result)
        case .close: closeEnded(result)
        }
    }

    // MARK: Messages

    private func messageAnswered(_ delivery: EndedDelivery, _ reply: SessionReply) {
        if let conversation {
            conversation.beginAnswer(to: delivery.event.label)
            apply(reply)
            conversation.endAnswer()
        } else {
            apply(reply)
        }
        noteAnswered(delivery.event)
        eventDone(delivery.sequences)
    }

    private func messageFailed(_ delivery: EndedDelivery, _ result: WebhookResult) {
        if let failure = result.failure {
            let isRejection = conversation != nil && failure.closeCode == .policyViolation
            log(failure, of: delivery.event, level: isRejection ? .debug : .warning)
            context.metrics.messagesDropped(delivery.count, reason: .appFailed)
            if let conversation {
                conversation.failed(delivery.event.label, failure, content: content(of: delivery))
            } else if context.settings.webhookFailure == .close {
                close(with: failure)
            }
        }
        eventDone(delivery.sequences)
    }

    private func noteAnswered(_ event: Delivery) {
        let now = NIODeadline.now()
        if case .batch(let messages) = event.event {
            for case let since? in messages.lazy.map(\.since) {
                context.metrics.messageDuration.recordNanoseconds((now - since).nanoseconds)
            }
        } else if let since = event.since {
            context.metrics.messageDuration.recordNanoseconds((now - since).nanoseconds)
        }
    }

    private func eventDone(_ sequences: ClosedRange<UInt64>) {
        delivery = nil  // so that an idle session does not keep the last message
        journal?.answered(sequences)
        perform(machine.answered())
        accountBytes()
        if !isPaused { transport?.resumeReading() }
        if isDraining { drain() }
    }

    private func close(with failure: DeliveryFailure) {
        close(code: failure.closeCode, reason: failure.closeReason, discarding: true, for: failure.closeCause)
    }

    // MARK: Revalidation

    /// A client that the app does not confirm is closed; when the app cannot be reached, nothing changes.
    private func revalidationEnded(_ sequences: ClosedRange<UInt64>, _ result: WebhookResult) {
        do throws(DeliveryFailure) {
            apply(try result.get())
            armRevalidation()
        } catch {
            log(error, level: .info, "revalidation failed")
            if case .status = error {
                close(code: .forbidden, reason: "no longer welcome", discarding: true, for: .revalidation)
            } else {
                close(with: error)
            }
        }
        eventDone(sequences)
    }

    // MARK: Clients that return

    /// What the app says to an absent client is kept for it.
    private func sessionEventEnded(_ ended: EndedDelivery, _ result: WebhookResult) {
        do throws(DeliveryFailure) {
            apply(try result.get())
        } catch {
            log(error, of: ended.event, level: .warning)
            context.metrics.messagesDropped(1, reason: .sessionEventUndelivered)
        }
        eventDone(ended.sequences)
    }

    // MARK: The end

    /// There is no client for the reply to a close event, but it may publish.
    private func closeEnded(_ result: WebhookResult) {
        var isOwed = false
        switch result {
        case .taken(_, .success(let reply)):
            for publication in reply.publications { publish(publication, excludesSelf: false) }
        case .taken(_, .failure(let failure)):
            log(failure, level: .warning, "the reply to an event is invalid")
        case .refused, .failed, .turnedAway:
            // That of a lost node's connection is kept by the engine until the app has answered.
            isOwed = registration?.whenTold != nil && result.failure?.isTransient ?? true
            if let failure = result.failure { log(failure, level: isOwed ? .warning : .error) }
            if !isOwed { context.metrics.messagesDropped(1, reason: .closeUndelivered) }
        }
        journal?.finished()
        registration?.whenTold?(isOwed)
        perform(machine.answered())
        accountBytes()
    }
}

/// An event whose delivery is over.
struct EndedDelivery: Sendable {
    let event: Delivery
    /// The reply with which the app has refused it for good.
    let rejection: (HTTPReplyHead, ByteBuffer)?

    init(_ event: Delivery, _ rejection: (HTTPReplyHead, ByteBuffer)?) {
        self.event = event
        self.rejection = rejection
    }

    var kind: SessionEvent.Kind { event.event.kind }
    var sequences: ClosedRange<UInt64> { event.sequences }
    var count: Int { sequences.count }
}
