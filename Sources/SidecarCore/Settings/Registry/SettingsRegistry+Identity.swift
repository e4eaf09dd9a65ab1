internal import NIOCore

/// The variables that say who clients are, and how Sidesocket proves itself.
extension SettingsRegistry {
    static let identity = [
        SettingDefinition(
            "TLS_CERT",
            .identity,
            \.tlsCertificate,
            .filePath,
            unset: "none (plain HTTP)",
            "A PEM file with the certificate chain of the public addresses; read again when it changes."
        ),
        SettingDefinition(
            "TLS_KEY",
            .identity,
            \.tlsKey,
            .filePath,
            unset: "none",
            "A PEM file with the private key of TLS_CERT."
        ),
        SettingDefinition(
            "TLS_CLIENT_CA",
            .identity,
            \.tlsClientCA,
            .filePath,
            unset: "none",
            "A PEM file with certificate authorities; every client must present a certificate of one of them."
        ),
        SettingDefinition(
            "CONTROL_TLS_CERT",
            .identity,
            \.controlTLSCertificate,
            .filePath,
            unset: "none (plain HTTP)",
            "A PEM file with the certificate chain of the control addresses."
        ),
        SettingDefinition(
            "CONTROL_TLS_KEY",
            .identity,
            \.controlTLSKey,
            .filePath,
            unset: "none",
            "A PEM file with the private key of CONTROL_TLS_CERT."
        ),
        SettingDefinition(
            "WEBHOOK_SECRET",
            .identity,
            \.webhookSecrets,
            .webhookSecrets,
            unset: "none (events are not signed)",
            isSecret: true,
            "The secret to sign events with, according to Standard Webhooks."
        ),
        SettingDefinition(
            "AUTH",
            .identity,
            \.auth,
            .choice,
            "Whether a client must present a JSON Web Token."
        ),
        SettingDefinition(
            "JWT_KEY",
            .identity,
            \.jwtKey,
            .text("a PEM public key, or a shared secret of at least 32 bytes", upTo: 64 << 10),
            unset: "none",
            isSecret: true,
            "The key to verify tokens with."
        ),
        SettingDefinition(
            "JWT_KEY_ID",
            .identity,
            \.jwtKeyID,
            .text("any text of up to 256 bytes", upTo: 256),
            unset: "none (tokens with a kid are refused)",
            "The kid of JWT_KEY."
        ),
        SettingDefinition(
            "JWT_JWKS_URL",
            .identity,
            \.jwtKeySetURL,
            .httpURL,
            unset: "none",
            "The URL of the issuer's key set, fetched again every five minutes."
        ),
        SettingDefinition(
            "JWT_ALGORITHMS",
            .identity,
            \.jwtAlgorithms,
            .tokenAlgorithms,
            unset: "none; required with AUTH",
            "The signature algorithms to accept."
        ),
        SettingDefinition(
            "JWT_ISSUER",
            .identity,
            \.jwtIssuers,
            .texts,
            unset: "any",
            "The issuers to accept (iss)."
        ),
        SettingDefinition(
            "JWT_AUDIENCE",
            .identity,
            \.jwtAudiences,
            .texts,
            unset: "any",
            "The audiences to accept (aud)."
        ),
        SettingDefinition(
            "JWT_USER_CLAIM",
            .identity,
            \.jwtUserClaim,
            .text("the name of a claim", upTo: 256),
            "The claim that names the user."
        ),
        SettingDefinition(
            "JWT_LEEWAY",
            .identity,
            \.jwtLeeway,
            .duration(.zero ... .minutes(10)),
            "The clock skew to allow between the issuer and Sidesocket."
        ),
        SettingDefinition(
            "JWT_SOURCES",
            .identity,
            \.jwtSources,
            .tokenSources,
            "Where to look for a token."
        ),
        SettingDefinition(
            "AUTH_TIMEOUT",
            .identity,
            \.authTimeout,
            .duration(.milliseconds(100) ... .minutes(5)),
            "The time a client has to send its token as the first message."
        ),
        SettingDefinition(
            "JWT_FORWARD_CLAIMS",
            .identity,
            \.jwtForwardClaims,
            .claimNames,
            unset: "none",
            "The claims to send to the app in ce-claim headers."
        ),
        SettingDefinition(
            "REVALIDATE_INTERVAL",
            .identity,
            \.revalidateInterval,
            .duration(.milliseconds(100) ... .hours(24), off: true),
            "How often to ask the app whether a client is still welcome, ±10 %."
        ),
        SettingDefinition(
            "AUTO_BAN",
            .identity,
            \.autoBan,
            .autoBan,
            "Bans an address after this many protocol or limit violations, for this long."
        ),
        SettingDefinition(
            "AUDIT_LOG",
            .identity,
            \.auditLog,
            .filePath,
            "Where to log changes through the API and automatic bans: stderr, or a file."
        ),
    ]
}

extension CrossChecks {
    /// Faults in combinations of identity settings.
    func identityFaults() -> [SettingFault?] {
        [
            pair("TLS_CERT", settings.tlsCertificate, "TLS_KEY", settings.tlsKey),
            pair("CONTROL_TLS_CERT", settings.controlTLSCertificate, "CONTROL_TLS_KEY", settings.controlTLSKey),
            clientAuthoritiesAreOfUse(),
            tokensCanBeVerified(),
            algorithmsAreNamed(),
        ]
    }

    private func pair(_ first: String, _ one: String?, _ second: String, _ other: String?) -> SettingFault? {
        guard (one == nil) != (other == nil) else { return nil }
        let (given, missing) = one == nil ? (second, first) : (first, second)
        return fault(
            given,
            among: [first, second],
            problem: "has no effect without SIDESOCKET_\(missing)",
            advice: "Set both, or neither"
        )
    }

    private func clientAuthoritiesAreOfUse() -> SettingFault? {
        guard settings.tlsClientCA != nil, settings.tlsCertificate == nil else { return nil }
        return fault(
            "TLS_CLIENT_CA",
            among: ["TLS_CLIENT_CA", "TLS_CERT", "TLS_KEY"],
            problem: "has no effect without SIDESOCKET_TLS_CERT: clients present certificates only in TLS",
            advice: "Also set SIDESOCKET_TLS_CERT and SIDESOCKET_TLS_KEY"
        )
    }

    private func tokensCanBeVerified() -> SettingFault? {
        guard settings.auth != .off, settings.jwtKey == nil, settings.jwtKeySetURL == nil else { return nil }
        return fault(
            "AUTH",
            among: ["AUTH", "JWT_KEY", "JWT_JWKS_URL"],
            problem: "has no key to verify tokens with",
            advice: "Also set SIDESOCKET_JWT_KEY, SIDESOCKET_JWT_KEY_FILE or SIDESOCKET_JWT_JWKS_URL"
        )
    }

    private func algorithmsAreNamed() -> SettingFault? {
        guard settings.auth != .off, settings.jwtAlgorithms == nil else { return nil }
        return fault(
            "JWT_ALGORITHMS",
            among: ["AUTH", "JWT_ALGORITHMS"],
            problem: "is required with SIDESOCKET_AUTH but not set",
            accepted: "the algorithms of your issuer, such as RS256"
        )
    }
}
