import HTTP1

extension SessionReply.Demands {
    /// Reads all `Sidesocket-…` fields of a reply.
    init(_ headers: HTTPHeaders) throws(DeliveryFailure) {
        self.init()
        var fault: String?
        headers.forEach { name, value in
            guard fault == nil, HeaderRules.isSidesocket(name) else { return }
            if HTTPField.equals(name, "sidesocket-broadcast") {
                fault = readBroadcast(value)
            } else if let text = String(validating: value, as: UTF8.self) {
                fault = read(name, text)
            } else {
                fault = "\(String(decoding: name, as: UTF8.self)) is not valid UTF-8."
            }
        }
        if let fault = fault ?? self.fault { throw .badReply(fault) }
    }

    private mutating func readBroadcast(_ value: UnsafeRawBufferPointer) -> String? {
        do throws(BroadcastHeader.Fault) {
            broadcasts.append(try BroadcastHeader(value).publication)
            return nil
        } catch {
            return error.sentence
        }
    }

    /// Applies one field; returns what is wrong with it.
    private mutating func read(_ name: UnsafeRawBufferPointer, _ value: String) -> String? {
        if HTTPField.equals(name, "sidesocket-user") {
            user = UserName(value)
        } else if HTTPField.equals(name, "sidesocket-state") {
            state = value
        } else if HTTPField.equals(name, "sidesocket-subscribe") {
            return Self.readChannels(value, into: &subscribe)
        } else if HTTPField.equals(name, "sidesocket-unsubscribe") {
            return Self.readChannels(value, into: &unsubscribe)
        } else if HTTPField.equals(name, "sidesocket-publish") {
            return Self.readChannels(value, into: &publish)
        } else if HTTPField.equals(name, "sidesocket-event") {
            guard EventStreamText.isEventType(value) else {
                return "Sidesocket-Event must be 1 to 128 printable characters."
            }
            event = value
        } else if HTTPField.equals(name, "sidesocket-exclude") {
            guard value == "self" else { return "Sidesocket-Exclude can only be self." }
            excludesSelf = true
        } else if HTTPField.equals(name, "sidesocket-token") {
            token = value
        } else if HTTPField.equals(name, "sidesocket-close") {
            guard let request = CloseRequest(headerValue: value) else {
                return "Sidesocket-Close needs a code of 1000-1003, 1007-1014 or 3000-4999, then a reason."
            }
            close = request
        } else {
            return "This version does not know the header \(String(decoding: name, as: UTF8.self))."
        }
        return nil
    }

    private static func readChannels(_ value: String, into channels: inout [ChannelName]) -> String? {
        guard let names = ChannelName.list(value) else {
            return "A channel's name is 1 to 200 printable characters without space, comma and quote, in quotes or not."
        }
        channels += names
        return nil
    }

    /// What is wrong with the combination of fields.
    private var fault: String? {
        if let user, user.text.utf8.count > UserName.maxBytes {
            return "Sidesocket-User is longer than \(UserName.maxBytes) bytes."
        }
        if let state, state.utf8.count > SessionReply.maxStateBytes {
            return "Sidesocket-State is longer than \(SessionReply.maxStateBytes) bytes."
        }
        return nil
    }
}
