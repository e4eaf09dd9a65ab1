import NIOCore
import SidecarCore

/// Sessions that were given to other nodes, which have not said that they have them; by move.
struct Departures: Sendable {
    /// One of them, with what it has left here.
    struct Departure: Sendable {
        let record: SessionRecord
        let moved: MovedSession
        let context: NIOLoopBound<SessionContext>
    }

    private var departures: [String: Departure] = [:]
    /// How many of them can be resumed with a token.
    private var tokens: [ResumeToken.Hash: Int] = [:]

    var isEmpty: Bool { departures.isEmpty }
    var moves: [String] { Array(departures.keys) }

    /// Whether a session that can be resumed with a token is on its way from here.
    func contains(_ token: ResumeToken.Hash) -> Bool { tokens[token] != nil }
    func contains(move: String) -> Bool { departures[move] != nil }
    func moves(of id: String) -> [String] { departures.filter { $0.value.record.id == id }.map(\.key) }

    func context(of move: String) -> NIOLoopBound<SessionContext>? { departures[move]?.context }

    mutating func insert(_ departure: Departure, as move: String) {
        departures[move] = departure
        for token in departure.record.tokens { tokens[token, default: 0] += 1 }
    }

    mutating func remove(_ move: String) -> Departure? {
        guard let departure = departures.removeValue(forKey: move) else { return nil }
        for token in departure.record.tokens {
            let count = (tokens[token] ?? 0) - 1
            tokens[token] = count > 0 ? count : nil
        }
        return departure
    }
}
