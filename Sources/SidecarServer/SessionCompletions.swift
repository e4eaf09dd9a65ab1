import DeliveryOutbox
import Logging
import NIOCore
import SidecarCore

/// What follows when the app has answered an event, or has not taken it.
extension BridgeSession {
    func messageCompleted(_ delivery: Delivery, _ outcome: WebhookCall.Outcome) {
        do throws(DeliveryFailure) {
            let (head, body) = try outcome.get()
            apply(try checked(try WebhookReply(head: head, body: body, batchOf: delivery.sequences.count)))
        } catch {
            if retries(error, retryAfter: outcome.retryAfter) { return }
            messageFailed(delivery, error)
        }
        messageDone(delivery)
    }

    private func messageDone(_ delivery: Delivery) {
        underWay = nil  // an idle session does not keep the last message
        if let outbox = shard.state.outbox {
            for sequence in delivery.sequences { outbox.answered(id: id, sequence: sequence) }
        }
        perform(machine.answered())
        accountBytes()
        if !isPaused { transport?.resumeReading() }
        if isDraining { drain() }
    }

    func revalidationCompleted(_ delivery: Delivery, _ outcome: WebhookCall.Outcome) {
        do throws(DeliveryFailure) {
            let (head, body) = try outcome.get()
            apply(try checked(try WebhookReply(head: head, body: body)))
            armRevalidation()
        } catch {
            if retries(error, retryAfter: outcome.retryAfter) { return }
            revalidationFailed(delivery, error)
        }
        messageDone(delivery)
    }

    /// Who is not vouched for is not welcome; an app that cannot be asked says nothing about anybody.
    private func revalidationFailed(_ delivery: Delivery, _ failure: DeliveryFailure) {
        log(failure, delivery, level: .info, "the app did not confirm a client")
        if case .status = failure {
            close(code: 4403, reason: "no longer welcome", discarding: true)
        } else {
            close(code: failure.closeCode, reason: failure.closeReason, discarding: true)
        }
    }

    private func messageFailed(_ delivery: Delivery, _ failure: DeliveryFailure) {
        log(failure, delivery, level: .warning)
        shard.metrics.messagesDropped(delivery.sequences.count, reason: "app_failed")
        if shard.configuration.settings.webhookFailure == .close {
            close(code: failure.closeCode, reason: failure.closeReason, discarding: true)
        }
    }

    func closeCompleted(_ delivery: Delivery, _ outcome: WebhookCall.Outcome) {
        do throws(DeliveryFailure) {
            let (head, body) = try outcome.get()
            if !(200..<300).contains(head.status) { throw .status(head.status) }
            publishLast(head, body, delivery)
        } catch {
            if retries(error, retryAfter: outcome.retryAfter) { return }
            closeFailed(delivery, error)
        }
        closeDone()
    }

    /// Nobody is there to hear the answer to a close event, but others may be told.
    private func publishLast(_ head: HTTPReplyHead, _ body: ByteBuffer, _ delivery: Delivery) {
        do throws(DeliveryFailure) {
            for publication in try WebhookReply(head: head, body: body).publications {
                publish(publication, excludesSelf: false)
            }
        } catch {
            log(error, delivery, level: .warning, "the answer to an event is not understood")
        }
    }

    private func closeFailed(_ delivery: Delivery, _ failure: DeliveryFailure) {
        log(failure, delivery, level: .error)
        shard.metrics.messagesDropped(1, reason: "close_undelivered")
    }

    private func closeDone() {
        shard.state.outbox?.finished(id: id)
        perform(machine.answered())
        accountBytes()
    }

    /// The time for the event is over before it could be tried.
    func gaveUp(_ delivery: Delivery, _ failure: DeliveryFailure) {
        switch delivery.event {
        case .open:
            break
        case .message, .batch:
            messageFailed(delivery, failure)
            messageDone(delivery)
        case .revalidate:
            revalidationFailed(delivery, failure)
            messageDone(delivery)
        case .close:
            closeFailed(delivery, failure)
            closeDone()
        }
    }
}
