import SidecarCore

@testable import SidecarServer

/// Settings and what is made of them, for an app at one or more addresses where nobody listens.
enum TestSettings {
    /// - Parameter environment: Variables without prefix.
    static func make(_ environment: [String: String] = [:]) throws -> Settings {
        var raw = RawSettings()
        var all = ["SIDESOCKET_APP_URL": "http://127.0.0.1:9"]
        for (name, value) in environment { all["SIDESOCKET_\(name)"] = value }
        raw.add(environment: all)
        return try Settings.parse(raw).get()
    }

    static func configuration(_ environment: [String: String] = [:]) throws -> ServerConfiguration {
        try ServerConfiguration(settings: make(environment), nodeName: "test", maxConnections: 100)
    }
}
