/// Where a publication comes from, the `source` label of `publications_total`.
enum PublicationSource: String, CaseIterable {
    /// A reply of the app.
    case reply
    case api
    /// A stream (`INGEST_URL`).
    case ingest
}
