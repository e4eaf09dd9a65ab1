import CoreMetrics
import SidecarCore

/// The combinations of labels that occur, so that every series exists from the start, at zero: an event that has not
/// happened yet differs from one that is not counted, and `rate()` includes the first time. A single label has a
/// counter for each case of its enum (``LabelledCounters``).
enum MetricSeries {
    /// The causes of ended connections, each with the codes that it can have.
    static func ends(of transportKind: TransportKind) -> [(
        code: SessionCloseCode, initiator: CloseInitiator, cause: CloseCause
    )] {
        let ofApp = SessionCloseCode(rawValue: 4000)  // any that the app or the client chooses
        var ends: [(code: SessionCloseCode, initiator: CloseInitiator, cause: CloseCause)] = [
            (.abnormal, .network, .connectionLost),
            (.normal, .server, .appClosed),
            (ofApp, .server, .appClosed),
            (.policyViolation, .server, .appRefused),
            (.internalError, .server, .appFailed),
            (.tryAgainLater, .server, .appUnavailable),
            (.forbidden, .server, .revalidation),
            (.policyViolation, .server, .kick),
            (.forbidden, .server, .ban),
            (.unauthorized, .server, .tokenExpired),
            (.policyViolation, .server, .connectionLimit),
            (.policyViolation, .server, .slowClient),
            (.goingAway, .server, .maxAge),
            (.serviceRestart, .server, .drain),
        ]
        switch transportKind {
        case .eventStream: return ends
        case .poll, .stream:
            return ends + [
                (.normal, .client, .client), (.badFrame, .server, .protocolError), (.tooBig, .server, .tooBig),
                (.tooManyRequests, .server, .rateLimited),
            ]
        case .webSocket: break
        }
        ends += [
            (.normal, .client, .client),
            (.goingAway, .client, .client),
            (.noStatus, .client, .client),
            (ofApp, .client, .client),
            (.goingAway, .server, .pongTimeout),
            (.goingAway, .server, .idle),
            (.protocolError, .server, .protocolError),
            (.invalidPayload, .server, .invalidData),
            (.tooBig, .server, .tooBig),
            (.policyViolation, .server, .assemblyTimeout),
            (.tryAgainLater, .server, .assemblyBudget),
            (.unauthorized, .server, .tokenRefused),
            (.forbidden, .server, .tokenRefused),
            (.tooManyRequests, .server, .rateLimited),
        ]
        return ends
    }
}

extension ServerMetrics {
    /// Creates the series of ``MetricSeries``.
    func makeSeries() {
        for transportKind in TransportKind.allCases {
            for end in MetricSeries.ends(of: transportKind) {
                _ = Self.closed(code: end.code, initiator: end.initiator, cause: end.cause, transportKind)
            }
        }
    }
}
