internal import Hummingbird
internal import SidecarCore

/// `POST /v1/channels/CHANNEL/messages`.
struct PublicationResponse: ResponseEncodable {
    let channel: String
    let offset: UInt64
    let epoch: String
    /// Left out without a cluster, as is `scope`.
    let id: String?
    let matched: Int
    let queued: Int
    let dropped: Int
    let scope: String?

    init(_ receipt: PublicationReceipt, of channel: ChannelName) {
        self.channel = channel.text
        offset = receipt.position.offset
        epoch = receipt.position.epoch.description
        matched = receipt.counts.matched
        queued = receipt.counts.queued
        dropped = receipt.counts.dropped
        id = receipt.scope.map { _ in receipt.position.id.description }
        scope = receipt.scope.map {
            switch $0 {
            case .node: "node"
            }
        }
    }
}

/// `POST /v1/users/USER/messages` and `POST /v1/connections/ID/messages`.
struct DeliveryResponse: ResponseEncodable {
    let matched: Int
    let queued: Int
    let dropped: Int

    init(_ counts: DeliveryCounts) {
        matched = counts.matched
        queued = counts.queued
        dropped = counts.dropped
    }
}

/// One entry of the answer to `POST /v1/messages`.
enum BatchEntryResponse: Encodable {
    struct Failure: Encodable {
        let status: Int
        let detail: String
    }

    case published(PublicationResponse)
    case delivered(DeliveryResponse)
    case failed(Failure)

    func encode(to encoder: any Encoder) throws {
        switch self {
        case .published(let answer): try answer.encode(to: encoder)
        case .delivered(let answer): try answer.encode(to: encoder)
        case .failed(let failure): try failure.encode(to: encoder)
        }
    }
}
