/** Effect's spans, metrics and logs through OpenTelemetry's SDK for Node, which sends them by OTLP. */
import type { logs, metrics, NodeSDK } from "@opentelemetry/sdk-node"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import { needed } from "./optionalPackage.ts"

export interface Options {
  /** What the program calls itself. `OTEL_SERVICE_NAME` stands above it; without both it is `unknown_service:node`. */
  readonly serviceName?: string | undefined
  /** `service.version` in `OTEL_RESOURCE_ATTRIBUTES` stands above it. */
  readonly serviceVersion?: string | undefined
  /** Whether metrics are sent, which they are by OTLP alone. Default `true`; `false` where Prometheus fetches them. */
  readonly metrics?: boolean | undefined
  /** Whether logs are sent, beside what the loggers that are there do with them. Default `true`. */
  readonly logs?: boolean | undefined
}

/**
 * Where to and how is said by the standard `OTEL_*` variables. What is left when the layer closes is sent then, for at most
 * 5 seconds. A process that ends by itself may stay for `OTEL_EXPORTER_OTLP_TIMEOUT` (10 seconds) with a collector that
 * does not answer; one that a signal ends does not. `OTEL_LOG_LEVEL=warn` shows why an export failed.
 *
 * Loggers beneath it stay: `layerNode().pipe(Layer.provideMerge(layerJsonLogs()))`. Spans and logs carry messages and stacks
 * of errors as Effect gives them. The SDK registers itself for the whole process: the layer dies where one is registered
 * already, or where the packages are missing.
 */
export const layer = (options: Options = {}): Layer.Layer<never, Config.ConfigError> =>
  Layer.unwrap(
    Effect.gen(function* () {
      const settings = yield* fromEnvironment
      if (settings.disabled) return Layer.empty
      const packages = yield* load
      const isMeasured = settings.metrics && options.metrics !== false
      yield* start(packages, options, isMeasured ? [yield* reader(packages, settings)] : [])
      const { OtelLogger, OtelTracer } = packages
      const provider = Layer.sync(OtelLogger.OtelLoggerProvider, () => packages.apiLogs.getLoggerProvider())
      return Layer.mergeAll(
        settings.traces ? OtelTracer.layerGlobal : Layer.empty,
        options.logs === false ? Layer.empty : Layer.provide(OtelLogger.layer({}), provider)
      )
    })
  )

const shutdownTimeout = "5 seconds"

/** What decides whether there is anything to build, and what the reader of metrics is built from: the SDK reads the rest. */
const fromEnvironment = Effect.gen(function* () {
  const text = (name: string) => Effect.map(Config.withDefault(Config.String(name), ""), (value) => value.trim())
  const exporters = (name: string) => Effect.map(text(name), (value) => value.split(",").map((one) => one.trim()))
  const interval = yield* positive("OTEL_METRIC_EXPORT_INTERVAL", 60_000)
  const metrics = yield* exporters("OTEL_METRICS_EXPORTER")
  return {
    disabled: (yield* text("OTEL_SDK_DISABLED")).toLowerCase() === "true",
    traces: !(yield* exporters("OTEL_TRACES_EXPORTER")).includes("none"),
    metrics: metrics.includes("otlp") || metrics.join("") === "",
    protocol: (yield* text("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL")) || (yield* text("OTEL_EXPORTER_OTLP_PROTOCOL")),
    interval,
    timeout: Math.min(yield* positive("OTEL_METRIC_EXPORT_TIMEOUT", 30_000), interval)
  }
})

type Settings = Effect.Success<typeof fromEnvironment>

/** In milliseconds. */
const positive = (name: string, otherwise: number) =>
  Effect.map(Config.withDefault(Config.Finite(name), otherwise), (value) => (value > 0 ? value : otherwise))

const missing = needed("Telemetry.layerNode", "@effect/opentelemetry@4 @opentelemetry/sdk-node@0.223.0")

/** The packages by one name each; what comes along with the SDK is taken from there, so that there is one copy of it. */
const load = Effect.promise(async () => {
  const { createRequire } = await import("node:module")
  const sdk = await import("@opentelemetry/sdk-node").catch(missing)
  const require = createRequire(createRequire(import.meta.url).resolve("@opentelemetry/sdk-node"))
  // The package's one object for the process; the provider that NodeSDK registers there is one of sdk-logs.
  const apiLogs = require("@opentelemetry/api-logs") as { readonly logs: GlobalLogs }
  return {
    ...sdk,
    apiLogs: apiLogs.logs,
    // The packages differ in what they send, and agree in what they export.
    metricExporter: (kind: string) =>
      require(`@opentelemetry/exporter-metrics-otlp-${kind}`) as { OTLPMetricExporter: new () => PushMetricExporter },
    OtelTracer: await import("@effect/opentelemetry/OtelTracer").catch(missing),
    OtelLogger: await import("@effect/opentelemetry/OtelLogger").catch(missing),
    OtelMetrics: await import("@effect/opentelemetry/OtelMetrics").catch(missing),
    Resource: await import("@effect/opentelemetry/Resource").catch(missing)
  }
})

type Packages = Effect.Success<typeof load>
type PushMetricExporter = metrics.PushMetricExporter
interface GlobalLogs {
  readonly getLoggerProvider: () => logs.LoggerProvider
  readonly disable: () => void
}

/** NodeSDK makes a reader of its own from the environment, to which nothing can be added: this one reads Effect's metrics too. */
const reader = ({ metricExporter, metrics, OtelMetrics, Resource, resources }: Packages, settings: Settings) =>
  Effect.gen(function* () {
    const kind = settings.protocol === "grpc" ? "grpc" : settings.protocol === "http/json" ? "http" : "proto"
    const { OTLPMetricExporter } = metricExporter(kind)
    const exporter = new OTLPMetricExporter()
    const temporality = exporter.selectAggregationTemporality?.(metrics.InstrumentType.COUNTER)
    const isDelta = temporality === metrics.AggregationTemporality.DELTA
    const producer = yield* OtelMetrics.makeProducer(isDelta ? "delta" : "cumulative").pipe(
      Effect.provideService(Resource.Resource, resources.emptyResource())
    )
    return new metrics.PeriodicExportingMetricReader({
      exporter,
      metricProducers: [producer],
      exportIntervalMillis: settings.interval,
      exportTimeoutMillis: settings.timeout
    })
  })

const start = (
  packages: Packages,
  options: Options,
  metricReaders: Array<metrics.IMetricReader>
): Effect.Effect<void, never, Scope.Scope> => {
  const { api, NodeSDK, resources } = packages
  const acquire = Effect.sync(() => {
    const probe = api.trace.getTracer("ballast").startSpan("probe", { root: true })
    if (api.isSpanContextValid(probe.spanContext())) {
      throw new Error("Telemetry.layerNode: an OpenTelemetry SDK is registered in this process already")
    }
    const own = resources.resourceFromAttributes({
      ...(options.serviceName === undefined ? {} : { "service.name": options.serviceName }),
      ...(options.serviceVersion === undefined ? {} : { "service.version": options.serviceVersion })
    })
    const sdk = new NodeSDK({
      resource: resources.defaultResource().merge(own),
      metricReaders,
      ...(options.logs === false ? { logRecordProcessors: [] } : {})
    })
    sdk.start()
    return sdk
  })
  return Effect.asVoid(Effect.acquireRelease(acquire, (sdk) => stop(packages, sdk)))
}

/** What was registered for the process is taken back, so that another layer may come. */
const stop = ({ api, apiLogs }: Packages, sdk: NodeSDK): Effect.Effect<void> =>
  Effect.tryPromise(() => sdk.shutdown()).pipe(
    Effect.ignore,
    Effect.interruptible,
    Effect.timeoutOrElse({
      duration: shutdownTimeout,
      orElse: () => Effect.logWarning("Telemetry.layerNode: the collector did not take the rest in time")
    }),
    Effect.ensuring(
      Effect.sync(() => {
        api.trace.disable()
        api.metrics.disable()
        api.context.disable()
        api.propagation.disable()
        apiLogs.disable()
      })
    )
  )
