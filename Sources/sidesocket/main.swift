import ControlPlane
import CoreMetrics
import DeliveryOutbox
import Logging
import NIOCore
import PrometheusMetrics
import RedisClient
import RedisCluster
import ServiceLifecycle
import SidecarCore
import SidecarServer
import UnixSignals

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

let version = "0.1.0"
/// EX_CONFIG of sysexits.h: something is wrong with the configuration.
let configurationFault: Int32 = 78

let invocation = Invocation(arguments: Array(CommandLine.arguments.dropFirst()))
switch invocation.command {
case .help:
    print(Invocation.helpText(), terminator: "")
    exit(0)
case .version:
    print("sidesocket \(version)")
    exit(0)
case .run, .check:
    break
}

// The threads that the control listener runs on.
NIOSingletons.groupLoopCountSuggestion = 1

func refuseToStart(_ fault: any Error) -> Never {
    complain("\(fault)")
    exit(configurationFault)
}

let settings: Settings
let sources = SettingsSources.gather(flags: invocation.settings, environmentFile: invocation.environmentFile)
switch Settings.parse(sources) {
case .success(let parsed):
    settings = parsed
case .failure(let faults):
    complain("\(faults)")
    exit(configurationFault)
}

let (authenticator, fileFaults) = await openFiles(of: settings)
if !fileFaults.isEmpty {
    complain(fileFaults.joined(separator: "\n"))
    exit(configurationFault)
}
let controlTLS: ControlTLS?
do {
    controlTLS = try ControlTLS(settings)
} catch {
    refuseToStart(error)
}

// With the files that their URLs name.
let engineConfiguration: RedisConfiguration?
let ingestSources: [(RedisConfiguration, stream: String)]
do {
    engineConfiguration = try settings.clusterURL.map { try RedisConfiguration($0, timeout: settings.clusterTimeout) }
    ingestSources = try (settings.ingestURLs ?? []).map { url in
        (
            try RedisConfiguration(url.engine, variable: "INGEST_URL", timeout: settings.clusterTimeout),
            stream: url.stream
        )
    }
} catch {
    refuseToStart(error)
}

if invocation.command == .check {
    print(Invocation.checkText(settings), terminator: "")
    exit(0)
}

let auditLog: AuditLog
do {
    auditLog = try AuditLog(settings.auditLog)
} catch {
    complain(
        "SIDESOCKET_AUDIT_LOG=\"\(settings.auditLog)\": cannot be written: \(error.reason). Accepted: stderr or a file"
    )
    exit(configurationFault)
}
signal(SIGPIPE, SIG_IGN)
signal(SIGXFSZ, SIG_IGN)  // a limit on the size of files fails a write, like a full disk, and ends nothing
signal(SIGHUP, SIG_IGN)  // until somebody listens to it
LoggingSystem.bootstrap { _ in
    LineLogHandler(
        level: Logger.Level(rawValue: settings.logLevel.rawValue) ?? .info,
        format: LineLogHandler.Format(rawValue: settings.logFormat.rawValue) ?? .json
    )
}
let logger = Logger(label: "sidesocket")
let registry = SidesocketMetricCatalogue.makeRegistry(version: version)
MetricsSystem.bootstrap(registry)

let descriptors = SystemLimits.availableDescriptors(threads: settings.threads ?? System.coreCount)
guard descriptors >= SystemLimits.fewestDescriptors else {
    let missing = SystemLimits.fewestDescriptors - descriptors
    complain("The limit on open files (ulimit -n) is too low: \(missing) more are needed at least.")
    exit(configurationFault)
}
let engine = engineConfiguration.map { configuration in
    RedisEngine(
        configuration,
        settings: ClusterNodeSettings(settings, nodeName: settings.nodeName ?? SystemLimits.hostName()),
        rules: ChannelRules(settings),
        unixMilliseconds: WallClock.unixMilliseconds,
        logger: logger
    )
}
let edge: EdgeService
do {
    edge = try EdgeService(
        settings: settings,
        nodeName: settings.nodeName ?? SystemLimits.hostName(),
        version: version,
        maxConnections: min(settings.maxConnections ?? .max, SystemLimits.connectionsThatFit(in: descriptors)),
        maxDescriptors: descriptors,
        authenticator: authenticator,
        engine: engine,
        audit: { auditLog.write($0) },
        logger: logger
    )
} catch let error as OutboxError {
    complain("SIDESOCKET_OUTBOX_DIR=\"\(settings.outboxDirectory ?? "")\": cannot be used: \(error)")
    exit(configurationFault)
} catch {
    refuseToStart(error)
}
let ingest =
    ingestSources.isEmpty
    ? nil : IngestService(ingestSources, edge: edge, prefix: settings.clusterPrefix, logger: logger)
Gauges.register(edge.state, in: registry)
let notifier = ServiceNotifier(settings, edge: edge, logger: logger)
let drainRequest = DrainRequest(onRequest: { notifier?.stopping() })

let control = ControlPlane(
    addresses: settings.controlListen.map(ControlAddress.init),
    metrics: { registry.render($0 ? .openMetrics : .text004) },
    readiness: {
        Readiness(edge.state, needsApp: settings.readyNeedsApp, needsCluster: settings.readyNeedsCluster)
    },
    token: settings.controlToken,
    drain: { drainRequest.make() },
    connections: edge.connections,
    maxMessageBytes: { edge.settings.maxReplyBytes },
    publishRate: settings.publishRate,
    audit: { auditLog.write($0) },
    onRefusalsLimited: { edge.apiRefusalLimited() },
    tls: controlTLS?.configuration,
    logger: logger,
    onRunning: { _ in notifier?.controlListens() }
)

logger.notice(
    "starting",
    metadata: [
        "version": "\(version)", "app": "\(settings.apps.map(\.description).joined(separator: ","))",
        "max_connections": .stringConvertible(edge.state.maxConnections),
    ]
)
logPlan(HeartbeatPlan(settings), to: logger)
warn(of: settings, logger)
warnOfTokensInQueries(settings, logger)
let ending = FirstFault()
var lifecycleLogger = logger
lifecycleLogger.logLevel = max(logger.logLevel, .info)  // its lines at debug are about types of ours
let hangups = await UnixSignalsSequence(trapping: .sighup)
// Shut down from the last to the first: the control listener answers all through the drain.
let services = ServiceGroup(
    configuration: .init(
        services: [notifier.map { .init(service: $0, successTerminationBehavior: .ignore) }].compactMap { $0 } + [
            .init(service: Watched(control, ending), failureTerminationBehavior: .cancelGroup),
            .init(service: drainRequest, successTerminationBehavior: .gracefullyShutdownGroup),
            .init(
                service: SettingsReloader(
                    edge: edge,
                    flags: invocation.settings,
                    controlTLS: controlTLS,
                    notifier: notifier,
                    hangups: hangups,
                    logger: logger
                ),
                successTerminationBehavior: .ignore
            ),
            .init(
                service: Watched(edge, ending),
                successTerminationBehavior: .gracefullyShutdownGroup,
                failureTerminationBehavior: .cancelGroup
            ),
        ] + [ingest.map { .init(service: $0, successTerminationBehavior: .ignore) }].compactMap { $0 },
        logger: lifecycleLogger
    )
)
Task.detached { await TerminationSignals.watch(drainRequest, logger) }
do {
    try await services.run()
} catch {
    logger.critical("stopping after a fatal error", metadata: ["error": "\(ending.fault ?? error)"])
    exit(1)
}
