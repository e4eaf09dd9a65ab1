import NIOCore
import SidecarCore

/// Who else is in the client's channels (`presence=on`).
extension ProtocolConversation {
    /// Tells the client that a user has come or gone; what it was told with `$welcome` or `$joined` is the beginning.
    func tellOfMember(_ shared: SharedFrame, in channel: ChannelName) {
        guard isTold(of: channel), !staleMembers.contains(channel) else { return }
        let frame = shared.written(in: encoding)
        if phase == .live {
            if !sendIfPossible(frame, of: channel) { staleMembers.insert(channel) }
        } else {
            write(frame)
        }
    }

    /// A client that was too slow to be told of each change gets the whole list, now that it keeps up.
    func resetMembers() {
        guard phase == .live, let transport = session.transport, transport.isClear else { return }
        for channel in staleMembers.sorted() {
            guard session.isIn(channel), let members = context.channels.members(of: channel) else { continue }
            guard sendIfPossible(encoding.write(.members(channel, members)), of: channel) else { return }
            staleMembers.remove(channel)
        }
        staleMembers = staleMembers.filter { session.isIn($0) }
    }
}
