internal import Hummingbird
internal import SidecarCore

/// `GET` and `PUT /v1/bans/KIND/VALUE`.
struct BanResponse: ResponseEncodable {
    let kind: String
    let value: String
    let expiresAt: String
    let reason: String

    init(_ ban: BanInfo) {
        kind = ban.subject.kind
        value = ban.subject.value
        expiresAt = Timestamp.text(unixMilliseconds: ban.expiresAt)
        reason = ban.reason
    }
}

/// `GET /v1/bans`.
struct BanListResponse: ResponseEncodable {
    let bans: [BanResponse]

    init(_ bans: [BanInfo]) {
        self.bans = bans.map(BanResponse.init)
    }
}
