import RedisClient
import SidecarCore

/// What ``ClusterScripts/follow`` answers.
struct FollowAnswer: Equatable {
    /// What the messages are.
    enum Continuity: String {
        /// There was no known point to continue.
        case none = "head"
        /// All that follow the known point.
        case all
        /// The first that follow the known point.
        case part
        /// Some that follow the known point are lost, so there are none.
        case gap
    }

    /// Whether no node had subscribed before.
    let isFirst: Bool
    let continuity: Continuity
    /// The last message of the channel.
    let head: ChannelPoint
    let messages: [MessageFrame]

    init(isFirst: Bool, continuity: Continuity, head: ChannelPoint, messages: [MessageFrame]) {
        self.isFirst = isFirst
        self.continuity = continuity
        self.head = head
        self.messages = messages
    }

    /// Reads the answer.
    init(_ value: RESPValue) throws(AnswerFault) {
        guard let items = value.items, items.count == 6, let first = items[0].integer,
            let word = items[1].text, let continuity = Continuity(rawValue: word),
            let epoch = items[2].text, let offset = items[3].text, let id = items[4].text,
            let head = ChannelPoint(epoch, offset, id), let frames = items[5].items
        else { throw .wrongShape }
        self.init(
            isFirst: first == 1,
            continuity: continuity,
            head: head,
            messages: try MessageFrame.list(frames)
        )
        guard continuity != .part || !messages.isEmpty else { throw .wrongShape }
    }
}

extension MessageFrame {
    /// Reads the messages of an answer.
    static func list(_ values: [RESPValue]) throws(AnswerFault) -> [MessageFrame] {
        var frames: [MessageFrame] = []
        frames.reserveCapacity(values.count)
        for value in values {
            guard let bytes = value.bytes else { throw .wrongShape }
            do throws(FrameFault) {
                frames.append(try MessageFrame(bytes))
            } catch {
                throw .badMessage(error)
            }
        }
        return frames
    }
}

/// Why an answer of the engine cannot be used.
enum AnswerFault: Error, Equatable {
    case wrongShape
    case badMessage(FrameFault)

    /// For the log.
    var sentence: String {
        switch self {
        case .wrongShape:
            "a script answered something else than Sidesocket's scripts do; does something else write to its keys?"
        case .badMessage(let fault): fault.sentence
        }
    }
}
