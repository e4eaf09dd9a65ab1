#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// What the operating system allows.
enum SystemLimits {
    /// Descriptors for listeners, event loops, files, the runtime and connections accepted in one go; with none left,
    /// the process would not survive.
    private static func ownDescriptors(threads: Int) -> Int { 48 + 4 * threads }

    /// So many have to be left for clients and connections to the app.
    static let fewestDescriptors = 16

    /// Raises the limit on open files as far as it goes, and says how many of them clients and connections to the
    /// app may use; below zero when it is not even enough for the process.
    static func availableDescriptors(threads: Int) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 256 }
        if limit.rlim_cur < limit.rlim_max {
            var raised = limit
            raised.rlim_cur = limit.rlim_max
            if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 { limit = raised }
        }
        return Int(clamping: limit.rlim_cur) - ownDescriptors(threads: threads)
    }

    /// How many clients may be connected: the rest is for connections to the app.
    static func connectionsThatFit(in descriptors: Int) -> Int {
        descriptors - min(1_000, descriptors / 4)
    }

    /// The name of this machine, or `localhost`.
    static func hostName() -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { name in
            name.initialize(repeating: 0)
            guard let start = name.baseAddress, gethostname(start, name.count - 1) == 0 else { return "localhost" }
            return String(cString: start)
        }
    }
}
