import RedisClient
import SidecarCore

/// Collects the channels of all tags, and puts them in order.
final class ChannelListing {
    /// What the engine answers of one tag.
    struct Page {
        /// The last name that was looked at; nil at the end of the tag.
        var last: String?
        var heads: [ChannelHead] = []

        init(_ value: RESPValue) throws(AnswerFault) {
            guard let items = value.items, let last = items.first?.text, items.count % 4 == 1 else {
                throw .wrongShape
            }
            self.last = last.isEmpty ? nil : last
            var index = 1
            while index + 3 < items.count {
                guard let name = items[index].text.flatMap({ ChannelName($0) }), let epoch = items[index + 1].text,
                    let offset = items[index + 2].text, let id = items[index + 3].text,
                    let point = ChannelPoint(epoch, offset, id)
                else { throw .wrongShape }
                heads.append(ChannelHead(channel: name, position: point.position(in: name)))
                index += 4
            }
        }
    }

    private let prefix: String
    private let after: String?
    private let limit: Int
    private let completion: (Result<[ChannelHead], ChannelFailure>) -> Void
    private var found: [ChannelHead] = []
    private var foundOfTag: [Int: Int] = [:]
    private var tagsLeft = ClusterKeys.tags
    private var failure: ChannelFailure?

    init(
        prefix: String,
        after: String?,
        limit: Int,
        _ completion: @escaping (Result<[ChannelHead], ChannelFailure>) -> Void
    ) {
        self.prefix = prefix
        self.after = after
        self.limit = limit
        self.completion = completion
    }

    /// Where the names of a tag begin, as the engine's range has it.
    var first: String {
        if let after, after >= prefix { return "(" + after }
        return "[" + prefix
    }

    /// A page has come.
    ///
    /// - Returns: Where the next page of the tag begins; nil when it is not needed.
    func add(_ page: Result<Page, ChannelFailure>, of tag: Int) -> String? {
        switch page {
        case .failure(let failure): self.failure = failure
        case .success(let page):
            let wanted = page.heads.filter { $0.channel.text.hasPrefix(prefix) }
            found += wanted
            foundOfTag[tag, default: 0] += wanted.count
            if let last = page.last, last.hasPrefix(prefix), foundOfTag[tag, default: 0] < limit {
                return "(" + last
            }
        }
        tagsLeft -= 1
        if tagsLeft == 0 {
            completion(
                failure.map { .failure($0) }
                    ?? .success(Array(found.sorted { $0.channel < $1.channel }.prefix(limit)))
            )
        }
        return nil
    }
}
