import FoundationEssentials
public import NIOCore

/// One command of an `application/vnd.sidesocket+json` answer.
public enum Command: Sendable, Equatable {
    /// Send a message to this client.
    case send(MessageFormat, ByteBuffer)
    /// Name the user; empty forgets it.
    case user(String)
    /// Keep this state for later events; empty clears it.
    case state(String)
    /// Close after what was sent before.
    case close(CloseRequest)
}

/// Reads a command list: a JSON array of objects with one command each.
enum CommandList {
    /// The most commands in one answer.
    static let maxCommands = 1024

    /// Reads the whole list; nothing of it is applied when any command is wrong.
    ///
    /// - Throws: ``DeliveryFailure/badReply(_:)`` with the number of the command and what is wrong with it.
    static func parse(_ body: ByteBuffer) throws(DeliveryFailure) -> [Command] {
        let list: Entries
        do {
            list = try JSONDecoder().decode(Entries.self, from: Data(body.readableBytesView))
        } catch {
            throw .badReply("The command list is not a JSON array.")
        }
        if let fault = list.fault { throw .badReply("Command \(list.commands.count + 1): \(fault.sentence)") }
        guard list.commands.count <= maxCommands else {
            throw .badReply("The command list has more than \(maxCommands) commands.")
        }
        return list.commands
    }

    private struct Fault: Error {
        let sentence: String
    }

    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init?(intValue: Int) { nil }
        init(stringValue: String) { self.stringValue = stringValue }
    }

    private struct SendBody: Decodable {
        let text: String?
        let base64: String?
    }

    private struct CloseBody: Decodable {
        let code: Int
        let reason: String?
    }

    /// The commands up to the first fault, or to the first that is too many: the rest is not worth the time.
    private struct Entries: Decodable {
        var commands: [Command] = []
        var fault: Fault?

        init(from decoder: any Decoder) throws {
            var list = try decoder.unkeyedContainer()
            while !list.isAtEnd, commands.count <= CommandList.maxCommands {
                do {
                    commands.append(try list.decode(Entry.self).command.get())
                } catch let known as Fault {
                    fault = known
                    return
                } catch {
                    fault = Fault(sentence: "a value is missing or is of the wrong type.")
                    return
                }
            }
        }
    }

    private struct Entry: Decodable {
        let command: Result<Command, Fault>

        init(from decoder: any Decoder) throws {
            let object = try decoder.container(keyedBy: Name.self)
            guard let name = object.allKeys.first, object.allKeys.count == 1 else {
                command = .failure(Fault(sentence: "an object with exactly one command is needed."))
                return
            }
            switch name.stringValue {
            case "send":
                command = Self.send(try object.decode(SendBody.self, forKey: name))
            case "user":
                let user = try object.decode(String.self, forKey: name)
                command =
                    user.utf8.count <= WebhookReply.maxUserBytes
                    ? .success(.user(user)) : .failure(Fault(sentence: "the user's name is too long."))
            case "state":
                let state = try object.decode(String.self, forKey: name)
                command =
                    state.utf8.count <= WebhookReply.maxStateBytes
                    ? .success(.state(state)) : .failure(Fault(sentence: "the state is too long."))
            case "close":
                let body = try object.decode(CloseBody.self, forKey: name)
                command =
                    CloseRequest(code: body.code, reason: body.reason ?? "").map { .success(.close($0)) }
                    ?? .failure(Fault(sentence: "this close code may not be sent."))
            default:
                command = .failure(Fault(sentence: "this version does not know the command."))
            }
        }

        private static func send(_ body: SendBody) -> Result<Command, Fault> {
            switch (body.text, body.base64) {
            case (.some(let text), nil):
                return .success(.send(.text, ByteBuffer(string: text)))
            case (nil, .some(let base64)):
                guard let data = Data(base64Encoded: base64) else {
                    return .failure(Fault(sentence: "the base64 is not valid."))
                }
                return .success(.send(.binary, ByteBuffer(bytes: data)))
            default:
                return .failure(Fault(sentence: "send needs either text or base64."))
            }
        }
    }
}
