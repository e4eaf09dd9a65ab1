internal import ListenerSupport
internal import SidecarCore

#if canImport(Glibc)
    @preconcurrency internal import Glibc
#elseif canImport(Musl)
    @preconcurrency internal import Musl
#elseif canImport(Darwin)
    @preconcurrency internal import Darwin
#endif

/// Reads what settings are made of: the environment, the settings file, and the files that hold secrets.
enum SettingsSources {
    /// Adds all sources to the flags of the command line.
    ///
    /// - Parameter environmentFile: A file whose variables take the place of `environment`.
    static func gather(
        flags: RawSettings,
        environment: [String: String] = environment(),
        environmentFile: String? = nil,
        isReload: Bool = false
    ) -> RawSettings {
        var raw = flags
        if let environmentFile {
            do throws(SettingsReadError) {
                raw.add(environmentFile: try contents(of: environmentFile), path: environmentFile)
            } catch {
                raw.addUnreadableEnvironmentFile(path: environmentFile, reason: error.reason)
            }
        } else {
            raw.add(environment: environment)
        }
        if let path = raw.configPath {
            do throws(SettingsReadError) {
                raw.add(file: try contents(of: path, isReload: isReload), path: path)
            } catch {
                raw.addUnreadableFile(path: path, reason: error.reason)
            }
        }
        raw.resolveSecretFiles { path throws(SettingsReadError) in try contents(of: path, isReload: isReload) }
        return raw
    }

    /// The process's environment; of two variables with one name, the first counts, as for `getenv`.
    static func environment() -> [String: String] {
        var variables: [String: String] = [:]
        // Optional in some C libraries only, and nil after `clearenv` in all of them.
        let entries: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = environ
        guard var next = entries else { return [:] }
        while let entry = next.pointee {
            let text = String(cString: entry)
            if let equals = text.utf8.firstIndex(of: UInt8(ascii: "=")) {
                let name = String(text[..<equals])
                if variables[name] == nil {
                    variables[name] = String(text[text.utf8.index(after: equals)...])
                }
            }
            next += 1
        }
        return variables
    }

    /// A whole file; at most 1 MiB.
    ///
    /// - Parameter isReload: A pipe is read at the start only: later nobody may ever write into it.
    static func contents(of path: String, isReload: Bool = false) throws(SettingsReadError) -> [UInt8] {
        let limit = 1 << 20
        if isReload, FileFacts(path: path)?.kind == .pipe {
            throw SettingsReadError("is a pipe, which is only read at startup")
        }
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw systemError("cannot be opened") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw systemError("cannot be read") }
            guard count > 0 else { return bytes }
            guard bytes.count + count <= limit else { throw SettingsReadError("is larger than 1 MiB") }
            bytes += buffer.prefix(count)
        }
    }

    private static func systemError(_ problem: String) -> SettingsReadError {
        let code = errno
        guard let message = strerror(code) else { return SettingsReadError("\(problem): error \(code)") }
        return SettingsReadError("\(problem): \(String(cString: message))")
    }
}
