import NIOCore
import SidecarCore
import Testing

@testable import RedisCluster

@Suite("What nodes tell each other on the topic of a channel, beside its messages")
struct PassingFrameTests {
    private let room: ChannelName

    init() throws { room = try #require(ChannelName("room")) }

    private var notices: [MemberNotice] {
        [nil, MemberEvent("bob", hasJoined: true), MemberEvent("é", hasJoined: false)].map {
            MemberNotice(channel: room, before: 7, version: .max, change: $0)
        }
    }

    private var events: [ClientBroadcast] {
        [(nil, MessageFormat.json, "{}"), ("bob", .binary, ""), ("é", .messagePack, "\u{1}")].map {
            user,
            format,
            text in
            ClientBroadcast(
                channel: room,
                type: "client-x",
                sender: "c1",
                user: user,
                format: format,
                payload: ByteBuffer(string: text)
            )
        }
    }

    @Test("Both are read as they were written, and neither is taken for the other")
    func roundTrip() throws {
        for notice in notices {
            let frame = MemberFrame.write(notice, from: "node")
            #expect(MemberFrame.isOne(frame) && !ClientEventFrame.isOne(frame))
            let (read, node) = try MemberFrame.read(frame, of: room)
            #expect(read == notice && node == "node")
        }
        for event in events {
            let frame = ClientEventFrame.write(event)
            #expect(ClientEventFrame.isOne(frame) && !MemberFrame.isOne(frame))
            #expect(try ClientEventFrame.read(frame, of: room) == event)
        }
    }

    @Test("What is cut off is refused, but for a payload, which has no end of its own")
    func cutOff() throws {
        for frame in notices.map({ MemberFrame.write($0, from: "node") }) {
            for length in 0..<frame.readableBytes {
                let part = try #require(frame.getSlice(at: 0, length: length))
                #expect(throws: FrameFault.self) { try MemberFrame.read(part, of: room) }
            }
        }
        let event = events[1]
        let frame = ClientEventFrame.write(event)
        for length in 0..<frame.readableBytes {
            let part = try #require(frame.getSlice(at: 0, length: length))
            #expect(throws: FrameFault.self) { try ClientEventFrame.read(part, of: room) }
        }
    }

    @Test("Whatever bytes come, they are read or refused")
    func anyBytes() throws {
        var random = SystemRandomNumberGenerator()
        for frame in notices.map({ MemberFrame.write($0, from: "node") }) + events.map(ClientEventFrame.write) {
            for index in 0..<frame.readableBytes {
                for _ in 0..<16 {
                    var damaged = frame
                    damaged.setInteger(UInt8.random(in: 0...255, using: &random), at: index)
                    if let (notice, node) = try? MemberFrame.read(damaged, of: room) {
                        #expect(!node.isEmpty && notice.change?.user.isEmpty != true)
                    }
                    if let event = try? ClientEventFrame.read(damaged, of: room) {
                        #expect(event.type.hasPrefix("client-"))
                    }
                }
            }
        }
    }

    @Test(
        "A notice of nobody, of no node or of an unknown change is refused",
        arguments: [
            "p\n\u{0}\u{0}",
            "p\n\u{0}\u{1}n\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{1}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{2}\u{1}\u{0}\u{0}",
            "p\n\u{0}\u{1}n\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{1}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{2}\u{3}\u{0}\u{1}b",
            "p\n\u{0}\u{1}n\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{1}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{2}\u{0}\u{0}\u{1}b",
        ]
    )
    func refused(_ text: String) {
        #expect(throws: FrameFault.self) { try MemberFrame.read(ByteBuffer(string: text), of: room) }
    }
}
