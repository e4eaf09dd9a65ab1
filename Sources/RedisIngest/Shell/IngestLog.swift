import Logging
import NIOCore
import SidecarCore

/// What reading a stream says in the log: trouble once when it begins, once when it changes, and once when it is over.
struct IngestLog {
    /// What can fail on its own.
    enum Area: String, CaseIterable {
        case lease = "getting the lease of the stream"
        case reading = "reading the stream"
        case acknowledging = "acknowledging entries of the stream"
        case publishing = "publishing entries of the stream"
    }

    private let logger: Logger
    private var troubles: [Area: String] = [:]
    private var lines = LineAllowance()
    private var entryLines = LineAllowance()

    /// - Parameter logger: Names the stream.
    init(_ logger: Logger) { self.logger = logger }

    /// Says something that happens rarely.
    func notice(_ message: Logger.Message, _ metadata: Logger.Metadata = [:]) {
        logger.notice(message, metadata: metadata)
    }

    /// Says something that somebody should know.
    mutating func warning(_ message: Logger.Message, _ why: String, at now: NIODeadline) {
        guard let leftOut = lines.take(at: now) else { return }
        logger.warning(message, metadata: Self.metadata(["why": "\(why)"], leftOut))
    }

    /// Something fails, and is tried again.
    mutating func failed(_ area: Area, _ why: String, at now: NIODeadline) {
        // The reasons of several channels may differ; that the engine is away is said once.
        guard area == .publishing ? troubles[area] == nil : troubles[area] != why else { return }
        troubles[area] = why
        warning("\(area.rawValue) fails; it is tried again and again", why, at: now)
    }

    /// Something works.
    mutating func works(_ area: Area) {
        guard troubles.removeValue(forKey: area) != nil else { return }
        logger.notice("\(area.rawValue) works again")
    }

    /// An entry is left out.
    mutating func skipped(_ id: EntryID, _ why: String, at now: NIODeadline) {
        guard let leftOut = entryLines.take(at: now) else { return }
        logger.warning(
            "an entry of the stream was not published",
            metadata: Self.metadata(["entry": "\(id)", "why": "\(why)"], leftOut)
        )
    }

    private static func metadata(_ metadata: Logger.Metadata, _ leftOut: Int) -> Logger.Metadata {
        guard leftOut > 0 else { return metadata }
        return metadata.merging(["left_out": .stringConvertible(leftOut)]) { $1 }
    }
}
