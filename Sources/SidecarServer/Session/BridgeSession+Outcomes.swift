import CoreMetrics
import DeliveryOutbox
import HTTP1
import Logging
import NIOCore
import SidecarCore

/// What follows when the app has answered an event, or has not taken it.
extension BridgeSession {
    func messageCompleted(_ event: EventUnderWay, _ outcome: WebhookCall.Outcome) {
        do throws(DeliveryFailure) {
            let (head, body) = try outcome.get()
            apply(try checked(try shard.configuration.dialect.decode(head, body, events: event.count)))
            noteAnswered(event)
        } catch {
            if retries(error, retryAfter: outcome.retryAfter) { return }
            messageFailed(event, error)
        }
        messageDone(event)
    }

    private func noteAnswered(_ event: EventUnderWay) {
        let now = NIODeadline.now()
        if case .batch(let messages) = event.delivery.event {
            for case let since? in messages.lazy.map(\.since) {
                shard.metrics.messageDuration.recordNanoseconds((now - since).nanoseconds)
            }
        } else if let since = event.delivery.since {
            shard.metrics.messageDuration.recordNanoseconds((now - since).nanoseconds)
        }
    }

    private func messageDone(_ event: EventUnderWay) {
        underWay = nil  // an idle session does not keep the last message
        if let outbox = shard.state.outbox {
            for sequence in event.delivery.sequences { outbox.answered(id: id, sequence: sequence) }
        }
        perform(machine.answered())
        accountBytes()
        if !isPaused { transport?.resumeReading() }
        if isDraining { drain() }
    }

    func revalidationCompleted(_ event: EventUnderWay, _ outcome: WebhookCall.Outcome) {
        do throws(DeliveryFailure) {
            let (head, body) = try outcome.get()
            apply(try checked(try shard.configuration.dialect.decode(head, body)))
            armRevalidation()
        } catch {
            if retries(error, retryAfter: outcome.retryAfter) { return }
            revalidationFailed(event, error)
        }
        messageDone(event)
    }

    /// Who is not vouched for is not welcome; an app that cannot be asked says nothing about anybody.
    private func revalidationFailed(_ event: EventUnderWay, _ failure: DeliveryFailure) {
        log(failure, event, level: .info, "revalidation failed")
        if case .status = failure {
            close(code: 4403, reason: "no longer welcome", discarding: true, for: .revalidation)
        } else {
            close(with: failure)
        }
    }

    private func messageFailed(_ event: EventUnderWay, _ failure: DeliveryFailure) {
        log(failure, event, level: .warning)
        shard.metrics.messagesDropped(event.count, reason: "app_failed")
        if shard.configuration.settings.webhookFailure == .close { close(with: failure) }
    }

    private func close(with failure: DeliveryFailure) {
        close(code: failure.closeCode, reason: failure.closeReason, discarding: true, for: failure.closeCause)
    }

    func closeCompleted(_ event: EventUnderWay, _ outcome: WebhookCall.Outcome) {
        do throws(DeliveryFailure) {
            let (head, body) = try outcome.get()
            if !(200..<300).contains(head.status) { throw .status(head.status) }
            publishLast(head, body, event)
        } catch {
            if retries(error, retryAfter: outcome.retryAfter) { return }
            closeFailed(event, error)
        }
        closeDone()
    }

    /// Nobody is there to hear the answer to a close event, but others may be told.
    private func publishLast(_ head: HTTPReplyHead, _ body: ByteBuffer, _ event: EventUnderWay) {
        do throws(DeliveryFailure) {
            for publication in try shard.configuration.dialect.decode(head, body).publications {
                publish(publication, excludesSelf: false)
            }
        } catch {
            log(error, event, level: .warning, "the reply to an event is invalid")
        }
    }

    private func closeFailed(_ event: EventUnderWay, _ failure: DeliveryFailure) {
        log(failure, event, level: .error)
        shard.metrics.messagesDropped(1, reason: "close_undelivered")
    }

    private func closeDone() {
        shard.state.outbox?.finished(id: id)
        perform(machine.answered())
        accountBytes()
    }

    /// The time for the event is over before it could be tried.
    func gaveUp(_ event: EventUnderWay, _ failure: DeliveryFailure) {
        switch event.delivery.event {
        case .open:
            break
        case .message, .batch:
            messageFailed(event, failure)
            messageDone(event)
        case .revalidate:
            revalidationFailed(event, failure)
            messageDone(event)
        case .close:
            closeFailed(event, failure)
            closeDone()
        }
    }
}
