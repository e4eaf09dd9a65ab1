import SidecarCore

/// How much may wait for one client, and what is done beyond that.
struct SendLimits: Equatable {
    /// In bytes (`MAX_SEND_BUFFER_BYTES`).
    let maxBytes: Int
    /// Unless a channel says otherwise (`SLOW_CLIENT_ACTION`).
    let action: SlowClientAction

    init(maxBytes: Int, action: SlowClientAction) {
        self.maxBytes = maxBytes
        self.action = action
    }

    init(_ settings: Settings) {
        self.init(maxBytes: settings.maxSendBufferBytes, action: settings.slowClientAction)
    }
}
