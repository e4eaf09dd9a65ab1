import NIOCore
import SidecarCore
import Synchronization

/// One message for many clients: encoded once for each codec, and compressed once for all who agreed on the same.
final class PreparedMessage: Sendable {
    /// What one codec makes of it.
    private struct Form {
        let codec: MessageCodec
        /// The window of its compression; 0 when it is not compressed.
        let windowBits: Int
        /// nil where compression does not pay.
        let bytes: ByteBuffer?
    }

    let format: MessageFormat
    let payload: ByteBuffer
    /// The channel that it was published to; nil for one that goes to a user or a connection.
    let channel: ChannelName?
    /// The event type; nil for the usual one.
    let event: String?
    /// What is done for a client that does not keep up; nil: as the settings say.
    let action: SlowClientAction?
    /// The form that nearly every message is asked for: made at once, so that no lock is taken for it.
    private let rawFrame: ByteBuffer
    /// The others, once somebody has asked for them; few messages have more than one.
    private let forms = Mutex<(first: Form?, more: [Form])>((nil, []))

    init(
        _ format: MessageFormat,
        _ payload: ByteBuffer,
        channel: ChannelName? = nil,
        event: String? = nil,
        action: SlowClientAction? = nil
    ) {
        self.action = action
        self.event = event
        self.format = format
        self.payload = payload
        self.channel = channel
        rawFrame = MessageCodec.rawFrames.encode(format, payload, event: event)
    }

    /// The message as those with this codec get it.
    func encoded(by codec: MessageCodec) -> ByteBuffer {
        if codec == .rawFrames { return rawFrame }
        return form(codec, windowBits: 0) { codec.encode(format, payload, event: event) } ?? rawFrame
    }

    /// The same for those who agreed on this window and no context takeover.
    ///
    /// - Parameter compress: Makes it; nil when it is not shorter.
    /// - Returns: nil when it is to go out as it is.
    func compressed(by codec: MessageCodec, windowBits: Int, _ compress: () -> ByteBuffer?) -> ByteBuffer? {
        form(codec, windowBits: windowBits, compress)
    }

    private func form(_ codec: MessageCodec, windowBits: Int, _ make: () -> ByteBuffer?) -> ByteBuffer? {
        forms.withLock { forms in
            func isIt(_ form: Form) -> Bool { form.codec == codec && form.windowBits == windowBits }
            if let first = forms.first, isIt(first) { return first.bytes }
            if let known = forms.more.first(where: isIt) { return known.bytes }
            let made = Form(codec: codec, windowBits: windowBits, bytes: make())
            if forms.first == nil { forms.first = made } else { forms.more.append(made) }
            return made.bytes
        }
    }
}
