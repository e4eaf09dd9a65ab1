import NIOCore
import SidecarCore
import Synchronization

/// One message for many clients: encoded once for each codec, and compressed once for each set of parameters.
final class PreparedMessage: Sendable {
    /// The message in one codec and compression.
    private struct Form {
        let codec: MessageCodec
        /// The window of its compression; 0 when it is not compressed.
        let windowBits: Int
        /// Nil where compression does not pay.
        let bytes: ByteBuffer?
    }

    let format: MessageFormat
    let payload: ByteBuffer
    /// The event type; nil for the default.
    let event: String?
    /// What is done for a client that does not keep up; nil: as the settings say.
    let action: SlowClientAction?
    /// The most frequent form; made at once, so that reading it takes no lock.
    private let rawFrame: ByteBuffer
    /// The other forms, made when first needed; most messages have at most one of them.
    private let forms = Mutex<(first: Form?, more: [Form])>((nil, []))

    init(
        _ format: MessageFormat,
        _ payload: ByteBuffer,
        event: String? = nil,
        action: SlowClientAction? = nil
    ) {
        self.action = action
        self.event = event
        self.format = format
        self.payload = payload
        rawFrame = RawFrames.encode(format, payload)
    }

    /// The message in a codec.
    ///
    /// - Parameter delivery: Its place in its channel, always the same one.
    func encoded(by codec: MessageCodec, in delivery: ChannelDelivery? = nil) -> ByteBuffer {
        if codec == .rawFrames { return rawFrame }
        return form(codec, windowBits: 0) { codec.encode(self, in: delivery) } ?? rawFrame
    }

    /// The message compressed with this window and without context takeover.
    ///
    /// - Parameter compress: Compresses it; nil when that is not shorter.
    /// - Returns: Nil when it should be sent uncompressed.
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
