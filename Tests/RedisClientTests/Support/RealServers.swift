import Testing

/// Tests with real servers, one after the other: they share two processor cores with their servers.
@Suite("Real servers", .serialized, .enabled(if: RedisServer.isInstalled, "redis-server is not installed"))
struct RealServers {}
