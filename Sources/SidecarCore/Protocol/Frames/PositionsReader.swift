/// Reads the `channels` of a `$resume`; their bytes are known to be well-formed.
///
/// A name that is no channel's is left out: the client is in no such channel.
enum PositionsReader {
    typealias Positions = [ChannelName: ResumeRequest.Position]

    private struct Malformed: Error {}

    /// The members of one position, in either encoding.
    private struct Draft {
        var offset: UInt64?
        var epoch: ChannelEpoch?
        var id: MessageID?

        func position() throws(Malformed) -> ResumeRequest.Position {
            guard let offset, let epoch, let id else { throw Malformed() }
            return ResumeRequest.Position(offset: offset, epoch: epoch, id: id)
        }
    }

    static func json(_ bytes: UnsafeRawBufferPointer) throws -> Positions {
        var reader = JSONReader(bytes)
        var positions: Positions = [:]
        try reader.expect("{")
        if reader.take("}") { return positions }
        repeat {
            let name = try reader.name()
            var draft = Draft()
            try reader.expect("{")
            if !reader.take("}") {
                repeat {
                    switch try reader.name() {
                    case "offset": draft.offset = UInt64(exactly: try reader.integer())
                    case "epoch": draft.epoch = ChannelEpoch(try reader.string())
                    case "id": draft.id = MessageID(try reader.string())
                    default: try reader.skipValue(maxDepth: ClientFrame.maxDepth)
                    }
                } while reader.take(",")
                try reader.expect("}")
            }
            let position = try draft.position()
            if let channel = ChannelName(name) { positions[channel] = position }
        } while reader.take(",")
        return positions
    }

    static func messagePack(_ bytes: UnsafeRawBufferPointer) throws -> Positions {
        var reader = MessagePackReader(bytes)
        var positions: Positions = [:]
        func value() throws -> UnsafeRawBufferPointer {
            UnsafeRawBufferPointer(rebasing: bytes[try reader.valueRange(maxDepth: ClientFrame.maxDepth)])
        }
        func text(_ value: UnsafeRawBufferPointer) -> String? {
            MessagePackReader.text(in: value).flatMap { String(validating: $0, as: UTF8.self) }
        }
        for _ in 0..<(try reader.mapCount()) {
            let name = text(try value())
            var draft = Draft()
            for _ in 0..<(try reader.mapCount()) {
                let member = text(try value())
                let value = try value()
                switch member {
                case "offset": draft.offset = MessagePackReader.unsigned(in: value)
                case "epoch": draft.epoch = text(value).flatMap { ChannelEpoch($0) }
                case "id": draft.id = text(value).flatMap { MessageID($0) }
                default: break
                }
            }
            let position = try draft.position()
            if let channel = name.flatMap({ ChannelName($0) }) { positions[channel] = position }
        }
        return positions
    }
}
