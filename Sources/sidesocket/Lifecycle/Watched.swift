import ServiceLifecycle
import Synchronization

/// A service whose fault is recorded.
struct Watched: Service {
    private let service: any Service
    private let ending: FirstFault

    init(_ service: any Service, _ ending: FirstFault) {
        self.service = service
        self.ending = ending
    }

    func run() async throws {
        do {
            try await service.run()
        } catch {
            ending.note(error)
            throw error
        }
    }
}

/// The fault that ended the process. Faults of services that end because of it are ignored.
final class FirstFault: Sendable {
    private let first = Mutex<(any Error)?>(nil)

    /// The first fault; nil while there is none.
    var fault: (any Error)? { first.withLock { $0 } }

    func note(_ error: any Error) {
        if error is CancellationError { return }
        first.withLock { if $0 == nil { $0 = error } }
    }
}
