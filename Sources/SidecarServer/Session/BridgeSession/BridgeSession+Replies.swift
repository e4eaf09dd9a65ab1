import NIOCore
import SidecarCore

/// Effects of the app's replies: on the client, its channels and the subscribers of others.
extension BridgeSession {
    func join(_ channel: ChannelName) {
        if machine.isRunning { context.channels.join(self, channel) }
    }

    func joinChannels(of reply: SessionReply) {
        for channel in reply.subscribe { join(channel) }
        if case .commands(let commands) = reply.output {
            for case .subscribe(let channel) in commands { join(channel) }
        }
    }

    func publish(_ publication: Publication, excludesSelf: Bool) {
        publications += 1
        context.channels.publish(publication, excluding: excludesSelf ? id : nil)
    }

    func apply(_ reply: SessionReply) {
        if reply.user != nil || reply.state != nil {
            mark(user: reply.user, state: reply.state)
        }
        for channel in reply.unsubscribe { context.channels.leave(self, channel) }
        for channel in reply.subscribe { join(channel) }
        if let stream = continued, stream.awaitsReplay {
            // By now it is in all channels of the reply; the replay comes before anything else.
            continued?.awaitsReplay = false
            transport?.replay?.resume { context.channels.replay(to: self, since: stream.cursor, room: $0, $1) }
        }
        for publication in reply.broadcasts { publish(publication, excludesSelf: false) }
        switch reply.output {
        case .none: break
        case .message where !reply.publish.isEmpty:
            for publication in reply.outputPublications { publish(publication, excludesSelf: reply.excludesSelf) }
        case .message(let format, let payload): send(format, payload, type: reply.event)
        case .commands(let commands): for command in commands { apply(command) }
        }
        if let token = reply.token { renew(byApp: token) }
        if let request = reply.close { close(by: request) }
    }

    private func close(by request: CloseRequest) {
        close(code: request.code, reason: request.reason, discarding: true, for: .appClosed)
    }

    func apply(_ command: Command) {
        switch command {
        case .send(let format, let payload): send(format, payload)
        case .user(let user): mark(user: user, state: nil)
        case .state(let state): mark(user: nil, state: state)
        case .close(let request): close(by: request)
        case .subscribe(let channel): join(channel)
        case .unsubscribe(let channel): context.channels.leave(self, channel)
        case .publish(let publication, let excludesSelf): publish(publication, excludesSelf: excludesSelf)
        }
    }
}
