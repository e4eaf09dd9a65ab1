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
    /// How many nodes the counts are of, and which did not answer; left out unless all were asked.
    let nodes: Int?
    let missing: [String]?

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
            case .cluster: "cluster"
            }
        }
        nodes = receipt.counts.coverage?.nodes
        missing = receipt.counts.coverage?.missing.nonEmpty
    }
}

/// `POST /v1/users/USER/messages` and `POST /v1/connections/ID/messages`.
struct DeliveryResponse: ResponseEncodable {
    let matched: Int
    let queued: Int
    let dropped: Int
    /// Left out without a cluster, as is `nodes`.
    let scope: String?
    let nodes: Int?
    /// Nodes that did not answer; left out when all have.
    let missing: [String]?

    init(_ counts: DeliveryCounts) {
        scope = counts.coverage.map { _ in "cluster" }
        nodes = counts.coverage?.nodes
        missing = counts.coverage?.missing.nonEmpty
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

    /// Whether the same entry may succeed later.
    var mayBeRepeated: Bool {
        if case .failed(let failure) = self { failure.status >= 500 || failure.status == 429 } else { false }
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
