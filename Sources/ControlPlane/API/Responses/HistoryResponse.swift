internal import FoundationEssentials
internal import Hummingbird
internal import NIOCore
internal import SidecarCore

/// `GET /v1/channels/CHANNEL/messages`.
struct HistoryResponse: ResponseEncodable {
    struct Message: Encodable {
        let offset: UInt64
        let time: String
        /// One of the two, by the format of the message.
        let text: String?
        let base64: Data?

        init(_ message: StoredMessage) {
            offset = message.offset
            time = Timestamp.text(unixMilliseconds: message.time)
            let isText = message.format.isText
            text = isText ? String(buffer: message.payload) : nil
            base64 = isText ? nil : Data(message.payload.readableBytesView)
        }
    }

    let channel: String
    let epoch: String
    let messages: [Message]

    init(_ history: ChannelHistory, of channel: ChannelName) {
        self.channel = channel.text
        epoch = history.epoch.description
        messages = history.messages.map(Message.init)
    }
}
