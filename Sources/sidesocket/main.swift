import ControlPlane
import CoreMetrics
import DeliveryOutbox
import Logging
import NIOCore
import PrometheusMetrics
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

func complainAboutAuthorities(_ settings: Settings, _ error: any Error) -> Never {
    complain("SIDESOCKET_APP_CA_FILE=\"\(settings.appCAFile ?? "")\": cannot be used: \(error). Accepted: a PEM file")
    exit(configurationFault)
}

let settings: Settings
switch Settings.parse(SettingsSources.gather(flags: invocation.settings)) {
case .success(let parsed):
    settings = parsed
case .failure(let faults):
    complain("\(faults)")
    exit(configurationFault)
}

if invocation.command == .check {
    do {
        try EdgeService.checkFiles(of: settings)
    } catch {
        complainAboutAuthorities(settings, error)
    }
    print(Invocation.checkText(settings), terminator: "")
    exit(0)
}

signal(SIGPIPE, SIG_IGN)
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
let drainRequest = DrainRequest()
let edge: EdgeService
do {
    edge = try EdgeService(
        settings: settings,
        nodeName: settings.nodeName ?? SystemLimits.hostName(),
        maxConnections: min(settings.maxConnections ?? .max, SystemLimits.connectionsThatFit(in: descriptors)),
        maxDescriptors: descriptors,
        logger: logger
    )
} catch let error as OutboxError {
    complain("SIDESOCKET_OUTBOX_DIR=\"\(settings.outboxDirectory ?? "")\": cannot be used: \(error)")
    exit(configurationFault)
} catch {
    complainAboutAuthorities(settings, error)
}
Gauges.register(edge.state, in: registry)

let control = ControlPlane(
    addresses: settings.controlListen.map(ControlAddress.init),
    metrics: { registry.render($0 ? .openMetrics : .text004) },
    readiness: { Readiness(edge.state) },
    token: settings.controlToken,
    drain: { drainRequest.make() },
    logger: logger
)

logger.notice(
    "starting",
    metadata: [
        "version": "\(version)", "app": "\(settings.apps.map(\.description).joined(separator: ","))",
        "max_connections": "\(edge.state.maxConnections)",
    ]
)
logPlan(HeartbeatPlan(settings), to: logger)
// Shut down from the last to the first: the control listener answers all through the drain.
let services = ServiceGroup(
    configuration: .init(
        services: [
            .init(service: control, failureTerminationBehavior: .cancelGroup),
            .init(service: drainRequest, successTerminationBehavior: .gracefullyShutdownGroup),
            .init(
                service: SettingsReloader(edge: edge, flags: invocation.settings, logger: logger),
                successTerminationBehavior: .ignore
            ),
            .init(
                service: edge,
                successTerminationBehavior: .gracefullyShutdownGroup,
                failureTerminationBehavior: .cancelGroup
            ),
        ],
        logger: logger
    )
)
Task.detached { await TerminationSignals.watch(drainRequest, logger) }
do {
    try await services.run()
} catch {
    logger.critical("cannot go on", metadata: ["error": "\(error)"])
    exit(1)
}
