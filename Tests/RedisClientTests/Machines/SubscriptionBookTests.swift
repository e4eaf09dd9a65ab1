import TestSupport
import Testing

@testable import RedisClient

@Suite("Subscription book")
struct SubscriptionBookTests {
    private let a = RedisChannel(name: "a")
    private let b = RedisChannel(name: "b")

    /// Takes all batches and confirms them.
    private func settle(_ book: inout SubscriptionBook) -> [String] {
        var lines: [String] = []
        while let batch = book.nextBatch() {
            lines.append("\(batch.kind.command) \(batch.channels.map(\.name).sorted().joined(separator: " "))")
            for channel in batch.channels { _ = book.confirmed(channel, subscribes: batch.kind.subscribes) }
            book.batchEnded()
        }
        return lines
    }

    @Test("What is wanted is subscribed when there is a connection, and again with the next one")
    func reconnect() {
        var book = SubscriptionBook()
        book.want(a, group: 1)
        #expect(book.nextBatch() == nil)
        book.connected(isSharded: false)
        #expect(settle(&book) == ["SUBSCRIBE a"])
        #expect(book.isSubscribed(a))
        book.want(a, group: 1)
        #expect(settle(&book) == [])
        #expect(book.disconnected() == [a])
        #expect(book.disconnected() == [])
        #expect(!book.isSubscribed(a))
        book.want(b, group: 1)
        book.unwant(a)
        book.connected(isSharded: true)
        #expect(settle(&book) == ["SSUBSCRIBE b"])
    }

    @Test("Unsubscribing while the subscription is on its way ends it after the confirmation")
    func unsubscribeEarly() {
        var book = SubscriptionBook()
        book.connected(isSharded: false)
        book.want(a, group: 0)
        let batch = book.nextBatch()
        #expect(batch?.channels == [a])
        #expect(book.unwant(a) == false)
        #expect(book.nextBatch() == nil)
        #expect(book.confirmed(a, subscribes: true) == .nothing)
        book.batchEnded()
        #expect(settle(&book) == ["UNSUBSCRIBE a"])
        #expect(book.count == 0)
    }

    @Test("Subscribing again while the end is on its way subscribes after it")
    func subscribeAgain() {
        var book = SubscriptionBook()
        book.connected(isSharded: false)
        book.want(a, group: 0)
        #expect(settle(&book) == ["SUBSCRIBE a"])
        #expect(book.unwant(a) == true)
        #expect(book.nextBatch()?.kind.subscribes == false)
        book.want(a, group: 0)
        #expect(book.nextBatch() == nil)
        #expect(book.confirmed(a, subscribes: false) == .nothing)
        book.batchEnded()
        #expect(settle(&book) == ["SUBSCRIBE a"])
        #expect(book.isSubscribed(a))
    }

    @Test("Changing one's mind before anything is sent sends nothing")
    func changesOfMind() {
        var book = SubscriptionBook()
        book.connected(isSharded: false)
        for _ in 0..<100 {
            book.want(a, group: 0)
            book.unwant(a)
        }
        #expect(settle(&book) == [])
        #expect(book.count == 0)
        book.want(a, group: 0)
        #expect(settle(&book) == ["SUBSCRIBE a"])
        for _ in 0..<100 {
            book.unwant(a)
            book.want(a, group: 0)
        }
        #expect(settle(&book) == [])
        #expect(book.isSubscribed(a))
    }

    @Test("Sharded subscriptions name channels of one slot in a command")
    func slots() {
        var book = SubscriptionBook()
        for index in 0..<1_200 { book.want(RedisChannel(name: "c\(index)"), group: index % 2) }
        book.connected(isSharded: true)
        var sizes: [Int] = []
        var named: Set<RedisChannel> = []
        while true {
            var batches: [SubscriptionBatch] = []
            while let batch = book.nextBatch() { batches.append(batch) }
            #expect(batches.count <= SubscriptionBook.maxBatchesInFlight)
            if batches.isEmpty { break }
            for batch in batches {
                sizes.append(batch.channels.count)
                #expect(Set(batch.channels.compactMap { Int($0.name.dropFirst()) }.map { $0 % 2 }).count == 1)
                for channel in batch.channels {
                    #expect(named.insert(channel).inserted)
                    #expect(book.confirmed(channel, subscribes: true) == .subscribed)
                }
                book.batchEnded()
            }
        }
        #expect(sizes.sorted() == [100, 100, 500, 500])
        #expect(named.count == 1_200)
    }

    @Test("A batch that was refused is tried again when that is asked for")
    func refused() {
        var book = SubscriptionBook()
        book.connected(isSharded: true)
        book.want(a, group: 0)
        book.want(b, group: 0)
        _ = book.nextBatch()
        book.batchEnded()
        book.refused([a, b], subscribes: true)
        book.unwant(b)
        #expect(book.nextBatch() == nil)
        book.retry([a, b])
        #expect(settle(&book) == ["SSUBSCRIBE a"])
        book.unwant(a)
        _ = book.nextBatch()
        book.batchEnded()
        book.refused([a], subscribes: false)
        #expect(book.count == 0)
    }

    @Test("A subscription that the server ends is no longer one, and can be tried again")
    func revoked() {
        var book = SubscriptionBook()
        book.connected(isSharded: true)
        book.want(a, group: 0)
        _ = settle(&book)
        #expect(book.revoked(a) == true)
        #expect(book.revoked(a) == false)
        #expect(book.revoked(b) == false)
        book.retry([a])
        #expect(settle(&book) == ["SSUBSCRIBE a"])
        // One that nobody wants is forgotten.
        book.unwant(a)
        #expect(book.revoked(a) == false)
        #expect(settle(&book) == [])
        #expect(book.count == 0)
    }

    @Test("Whatever happens, the server ends up with exactly what is wanted")
    func model() {
        var dice = SeededRandom(seed: 5)
        var book = SubscriptionBook()
        var server: Set<RedisChannel> = []
        var wanted: Set<RedisChannel> = []
        var told: Set<RedisChannel> = []
        var flying: [SubscriptionBatch] = []
        var isConnected = false
        let channels = (0..<40).map { RedisChannel(name: "c\($0)") }

        func confirmOne() {
            guard !flying.isEmpty else { return }
            let batch = flying.removeFirst()
            for channel in batch.channels {
                if batch.kind.subscribes { server.insert(channel) } else { server.remove(channel) }
                if book.confirmed(channel, subscribes: batch.kind.subscribes) == .subscribed { told.insert(channel) }
            }
            book.batchEnded()
        }

        for _ in 0..<60_000 {
            let channel = channels[Int.random(in: 0..<channels.count, using: &dice)]
            switch Int.random(in: 0..<20, using: &dice) {
            case 0..<6:
                wanted.insert(channel)
                if book.want(channel, group: 0) { told.insert(channel) }
            case 6..<12:
                wanted.remove(channel)
                told.remove(channel)
                book.unwant(channel)
            case 12..<15: while let batch = book.nextBatch() { flying.append(batch) }
            case 15..<18: confirmOne()
            case 18:
                guard Int.random(in: 0..<20, using: &dice) == 0 else { continue }
                isConnected.toggle()
                server = []
                flying = []
                if isConnected {
                    book.connected(isSharded: false)
                } else {
                    for channel in book.disconnected() { #expect(told.remove(channel) != nil) }
                    #expect(told.isEmpty)
                }
            default:
                guard server.contains(channel), flying.isEmpty else { continue }
                server.remove(channel)
                if book.revoked(channel) { #expect(told.remove(channel) != nil) }
                book.retry([channel])
            }
            #expect(book.count <= channels.count)
            #expect(Set(book.wanted) == wanted)
        }
        if !isConnected { book.connected(isSharded: false) }
        for _ in 0..<20 {
            while let batch = book.nextBatch() { flying.append(batch) }
            while !flying.isEmpty { confirmOne() }
        }
        #expect(server == wanted && told == wanted && book.count == wanted.count)
    }
}
