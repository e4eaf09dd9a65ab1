import JWTKit
import Testing

@testable import TokenVerifier

