// swift-tools-version:6.2
import PackageDescription

// For every target. Warnings are no errors; our own code should have none.
let settings: [SwiftSetting] = [
    // Our modules are one program: inlining and specialising across them saves 3 % of the CPU per message. The flag
    // changes no rule of the language; SwiftPM calls every flag unsafe that it has no name for.
    .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "sidesocket",
    platforms: [.macOS(.v15)],
    products: [.executable(name: "sidesocket", targets: ["sidesocket"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio.git", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl.git", from: "2.37.6"),
        // Without its default traits Hummingbird stays on FoundationEssentials, which keeps ICU
        // (40 MB) out of the binary.
        .package(url: "https://github.com/hummingbird-project/hummingbird.git", from: "2.28.1", traits: []),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-metrics.git", from: "2.13.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle.git", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-collections.git", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.2"),
        .package(url: "https://github.com/vapor/jwt-kit.git", from: "5.7.1"),
    ],
    targets: [
        // zlib, for permessage-deflate (RFC 7692).
        .systemLibrary(name: "CZlib", providers: [.apt(["libz-dev"])]),
        // SQLite, for the outbox.
        .systemLibrary(name: "CSQLite", providers: [.apt(["libsqlite3-dev"])]),
        // What is owed to the app, kept on disk through a crash.
        .target(name: "DeliveryOutbox", dependencies: ["CSQLite"], swiftSettings: settings),
        // Pure: who a client is, by its JSON Web Token (RFC 7519).
        .target(
            name: "TokenVerifier",
            dependencies: ["SidecarCore", .product(name: "JWTKit", package: "jwt-kit")],
            swiftSettings: settings
        ),
        // Pure: RFC 6455 and 7692, bytes in, events out.
        .target(
            name: "WebSocketProtocol",
            dependencies: [
                "CZlib",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: settings
        ),
        // Pure: HTTP/1.1 messages (RFC 9112), bytes in, parts out.
        .target(
            name: "HTTP1",
            dependencies: [.product(name: "NIOCore", package: "swift-nio")],
            swiftSettings: settings
        ),
        // Pure: policy; no sockets, no clock.
        .target(
            name: "SidecarCore",
            dependencies: [
                "HTTP1",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: settings
        ),
        // What several targets need of the system: errors in words, files, listeners that outlive a full descriptor table.
        .target(
            name: "ListenerSupport",
            dependencies: [
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "SidecarServer",
            dependencies: [
                "WebSocketProtocol", "HTTP1", "SidecarCore", "ListenerSupport", "DeliveryOutbox", "TokenVerifier",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            // The client for browsers, which scripts/client-script.sh makes.
            resources: [
                .embedInCode("Client/Script/sidesocket.min.js"), .embedInCode("Client/Script/sidesocket.min.js.gz"),
            ],
            swiftSettings: settings
        ),
        // Redis on NIO: RESP3, Sentinel and Cluster.
        .target(
            name: "RedisClient",
            dependencies: [
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        // Several nodes over Redis.
        .target(
            name: "RedisCluster",
            dependencies: [
                "RedisClient", "SidecarCore",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
            ],
            swiftSettings: settings
        ),
        // Publications from Redis streams.
        .target(
            name: "RedisIngest",
            dependencies: [
                "RedisClient", "SidecarCore",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "ControlPlane",
            dependencies: [
                "SidecarCore", "ListenerSupport",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "PrometheusMetrics",
            dependencies: [.product(name: "CoreMetrics", package: "swift-metrics")],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "sidesocket",
            dependencies: [
                "SidecarServer", "SidecarCore", "ControlPlane", "ListenerSupport", "PrometheusMetrics",
                "DeliveryOutbox",
                "TokenVerifier", "RedisClient", "RedisCluster", "RedisIngest",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "CoreMetrics", package: "swift-metrics"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),
        // Counts the instructions of the work on a message: Benchmarks/instructions.
        .executableTarget(
            name: "instruction-probe",
            dependencies: [
                "WebSocketProtocol", "HTTP1", "SidecarCore", .product(name: "NIOCore", package: "swift-nio"),
            ],
            path: "Benchmarks/instructions/Probe",
            swiftSettings: settings
        ),
        // What the tests of several targets share.
        .target(
            name: "TestSupport",
            dependencies: ["HTTP1", "SidecarCore", .product(name: "NIOCore", package: "swift-nio")],
            path: "Tests/TestSupport",
            swiftSettings: settings
        ),
        .testTarget(
            name: "WebSocketProtocolTests",
            dependencies: ["WebSocketProtocol", .product(name: "NIOCore", package: "swift-nio")],
            swiftSettings: settings
        ),
        .testTarget(
            name: "HTTP1Tests",
            dependencies: [
                "HTTP1", "TestSupport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SidecarCoreTests",
            dependencies: [
                "HTTP1", "SidecarCore", "TestSupport", .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SidecarServerTests",
            dependencies: [
                "SidecarServer", "SidecarCore", "HTTP1", "WebSocketProtocol", "TokenVerifier", "DeliveryOutbox",
                "TestSupport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "PrometheusMetricsTests",
            dependencies: ["PrometheusMetrics", .product(name: "Metrics", package: "swift-metrics")],
            swiftSettings: settings
        ),
        .testTarget(
            name: "ControlPlaneTests",
            dependencies: [
                "ControlPlane", "ListenerSupport",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "TokenVerifierTests",
            dependencies: ["TokenVerifier", "SidecarCore", .product(name: "JWTKit", package: "jwt-kit")],
            swiftSettings: settings
        ),
        .testTarget(
            name: "RedisClientTests",
            dependencies: [
                "RedisClient", "TestSupport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "RedisClusterTests",
            dependencies: [
                "RedisCluster", "RedisClient", "SidecarCore", "TestSupport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "RedisIngestTests",
            dependencies: [
                "RedisIngest", "RedisClient", "SidecarCore", "TestSupport",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "DeliveryOutboxTests",
            dependencies: ["DeliveryOutbox", "CSQLite", "TestSupport"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "FuzzTests",
            dependencies: [
                "WebSocketProtocol", "HTTP1", "SidecarCore", "RedisClient", "TestSupport",
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            path: "Tests/Fuzz",
            exclude: ["Seeds"],
            swiftSettings: settings
        ),
    ],
    swiftLanguageModes: [.v6]
)
