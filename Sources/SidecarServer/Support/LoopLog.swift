import Logging
import NIOCore
import SidecarCore

/// The log of one event loop: warnings that clients can cause are limited, so that they cannot fill a disk.
final class LoopLog {
    let logger: Logger
    private var lines = LineAllowance()

    init(_ logger: Logger) {
        self.logger = logger
    }

    /// Whether another such line may be written: nil if not, otherwise how many were left out before it.
    func takeLine() -> Int? { lines.take(at: .now()) }

    /// Writes a warning, unless there have been too many.
    func warn(_ message: Logger.Message, _ metadata: @autoclosure () -> Logger.Metadata) {
        guard let leftOut = takeLine() else { return }
        var fields = metadata()
        if leftOut > 0 { fields["left_out"] = .stringConvertible(leftOut) }
        logger.warning(message, metadata: fields)
    }
}
