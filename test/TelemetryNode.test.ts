/** The real SDK of OpenTelemetry, and a collector that decodes what it sends. */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import process from "node:process"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Config, ConfigProvider, Console, Effect, Exit, Layer, Logger, Metric } from "effect"
import { vi } from "vitest"
import * as JsonLogs from "../src/internal/telemetryJsonLogs.ts"
import * as TelemetryNode from "../src/internal/telemetryNode.ts"
import { type Collector, collector } from "./support/otlp.ts"

/** The SDK reads the environment of the process, which is put back afterwards. */
const withEnvironment = (environment: Readonly<Record<string, string>>) => (effect: Effect.Effect<void, unknown>) =>
  Effect.acquireUseRelease(
    Effect.sync(() => {
      const before = { ...process.env }
      Object.assign(process.env, environment)
      return before
    }),
    () => Effect.suspend(() => Effect.provideService(effect, ConfigProvider.ConfigProvider, ConfigProvider.fromEnv())),
    (before) =>
      Effect.sync(() => {
        for (const name of Object.keys(environment)) delete process.env[name]
        Object.assign(process.env, before)
      })
  )

/** Runs the program with the layer, closes it, and gives what the collector has by then. */
const sent = (
  program: Effect.Effect<void>,
  options: TelemetryNode.Options = {},
  environment: Readonly<Record<string, string>> = {}
): Effect.Effect<Collector> =>
  Effect.gen(function* () {
    const there = yield* collector()
    const layer = TelemetryNode.layer(options).pipe(Layer.provideMerge(Logger.layer([])))
    yield* withEnvironment({
      OTEL_EXPORTER_OTLP_ENDPOINT: there.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      ...environment
    })(Effect.provide(program, layer))
    return there
  }).pipe(Effect.scoped, Effect.orDie)

const pathsOf = (there: Collector) => there.requests.map(({ path }) => path).sort()

const calls = Metric.counter("test_calls_total", { incremental: true, description: "Calls", attributes: { to: "a" } })
const seconds = Metric.histogram("test_seconds", { boundaries: [1, 2, 4] })

const program = Effect.gen(function* () {
  yield* Metric.update(calls, 2)
  yield* Metric.update(seconds, 1.5)
  yield* Metric.update(seconds, 3)
  yield* Effect.logWarning({ event: "llm_request_started", prompt_length: 12 }).pipe(
    Effect.annotateLogs("provider", "openai"),
    Effect.withSpan("chat m", { kind: "client", attributes: { "gen_ai.request.model": "m", tokens: 5, ok: true } }),
    Effect.withSpan("call")
  )
}).pipe(Effect.provideService(Metric.MetricRegistry, new Map()))

describe("layerNode", { timeout: 60_000 }, () => {
  it.live("sends spans with their parents and attributes, for the service that the program names", () =>
    Effect.gen(function* () {
      const { spans } = yield* sent(program, { serviceName: "shop", serviceVersion: "1.2.3" })
      const [inner, outer] = spans
      assert.deepStrictEqual(
        spans.map(({ name }) => name),
        ["chat m", "call"]
      )
      assert.strictEqual(inner?.parentSpanId, outer?.spanId)
      assert.strictEqual(inner?.traceId, outer?.traceId)
      assert.strictEqual(outer?.parentSpanId, undefined)
      assert.strictEqual(inner?.kind, 3)
      assert.deepStrictEqual(inner?.attributes, { "gen_ai.request.model": "m", tokens: 5, ok: true })
      assert.strictEqual(inner?.resource["service.name"], "shop")
      assert.strictEqual(inner?.resource["service.version"], "1.2.3")
    })
  )

  it.live("sends the metrics of the program that it is provided to, when it closes at the latest", () =>
    Effect.gen(function* () {
      const registry = new Map()
      const inside = Effect.provideService(Metric.update(calls, 3), Metric.MetricRegistry, registry)
      const elsewhere = Effect.provideService(Metric.update(calls, 4), Metric.MetricRegistry, new Map())
      const there = yield* collector()
      const environment = { OTEL_EXPORTER_OTLP_ENDPOINT: there.url, OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" }
      const whole = Effect.andThen(
        Effect.andThen(inside, elsewhere),
        Effect.provideService(Metric.update(seconds, 1.5), Metric.MetricRegistry, registry)
      ).pipe(Effect.provide(TelemetryNode.layer()), Effect.provideService(Metric.MetricRegistry, registry))
      yield* withEnvironment(environment)(whole)
      assert.deepStrictEqual(there.points, [
        { name: "test_calls_total", unit: "1", attributes: { to: "a" }, value: 3, count: undefined },
        { name: "test_seconds", unit: "1", attributes: {}, value: 1.5, count: 1 }
      ])
    })
  )

  it.live("sends logs with the ids of their span, beside the loggers that are there", () =>
    Effect.gen(function* () {
      const lines: Array<unknown> = []
      const there = yield* collector()
      const layer = TelemetryNode.layer().pipe(
        Layer.provide(Logger.layer([Logger.make(({ message }) => void lines.push(message))]))
      )
      yield* withEnvironment({ OTEL_EXPORTER_OTLP_ENDPOINT: there.url, OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" })(
        Effect.provide(program, layer)
      )
      const span = there.spans.find(({ name }) => name === "chat m")
      const [log] = there.logs
      assert.strictEqual(there.logs.length, 1)
      assert.deepStrictEqual(JSON.parse(String(log?.body)), { event: "llm_request_started", prompt_length: 12 })
      assert.strictEqual(log?.severity, "Warn")
      assert.strictEqual(log?.traceId, span?.traceId)
      assert.strictEqual(log?.spanId, span?.spanId)
      assert.strictEqual(log?.attributes["provider"], "openai")
      assert.strictEqual(lines.length, 1)
    })
  )

  it.live("gives JSON lines the ids of the spans that are sent, on top of layerJsonLogs", () =>
    Effect.gen(function* () {
      const lines: Array<string> = []
      const there = yield* collector()
      const both = TelemetryNode.layer().pipe(Layer.provideMerge(JsonLogs.layer()))
      yield* withEnvironment({ OTEL_EXPORTER_OTLP_ENDPOINT: there.url, OTEL_EXPORTER_OTLP_PROTOCOL: "http/json" })(
        Effect.gen(function* () {
          const console = yield* Console.Console
          const log = (line: string) => void lines.push(line)
          yield* Effect.provideService(program, Console.Console, { ...console, log })
        }).pipe(Effect.provide(both))
      )
      const span = there.spans.find(({ name }) => name === "chat m")
      const line: unknown = JSON.parse(lines[0] ?? "")
      assert.strictEqual(lines.length, 1)
      assert.containSubset(line, { trace_id: span?.traceId, span_id: span?.spanId, prompt_length: 12 })
      assert.strictEqual(there.logs.length, 1)
    })
  )

  it.live("is configured by the standard variables, which stand above what the program says", () =>
    Effect.gen(function* () {
      const { requests, spans } = yield* sent(
        program,
        { serviceName: "program", serviceVersion: "1" },
        {
          OTEL_SERVICE_NAME: "deployed",
          OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=staging,service.version=2",
          OTEL_EXPORTER_OTLP_HEADERS: "x-api-key=secret-key"
        }
      )
      assert.strictEqual(spans[0]?.resource["service.name"], "deployed")
      assert.strictEqual(spans[0]?.resource["service.version"], "2")
      assert.strictEqual(spans[0]?.resource["deployment.environment.name"], "staging")
      assert.strictEqual(requests.length, 3)
      for (const { headers } of requests) assert.strictEqual(headers["x-api-key"], "secret-key")
    })
  )

  it.live("sends protobuf where no other protocol is asked for", () =>
    Effect.gen(function* () {
      const { requests } = yield* sent(program, {}, { OTEL_EXPORTER_OTLP_PROTOCOL: "" })
      assert.deepStrictEqual(
        requests.map(({ headers, path }) => `${path} ${headers["content-type"]}`).sort(),
        ["/v1/logs", "/v1/metrics", "/v1/traces"].map((path) => `${path} application/x-protobuf`)
      )
      const traces = requests.find(({ path }) => path === "/v1/traces")
      assert.isTrue(traces?.body.includes("chat m"))
    })
  )

  it.live.each<readonly [string, TelemetryNode.Options, Readonly<Record<string, string>>, ReadonlyArray<string>]>([
    ["no spans that are not sampled", {}, { OTEL_TRACES_SAMPLER: "always_off" }, ["/v1/logs", "/v1/metrics"]],
    ["no metrics where they are off", { metrics: false }, {}, ["/v1/logs", "/v1/traces"]],
    ["no metrics without an exporter", {}, { OTEL_METRICS_EXPORTER: "none" }, ["/v1/logs", "/v1/traces"]],
    ["no logs where they are off", { logs: false }, {}, ["/v1/metrics", "/v1/traces"]],
    ["no logs without an exporter", {}, { OTEL_LOGS_EXPORTER: "none" }, ["/v1/metrics", "/v1/traces"]],
    ["no spans without an exporter", {}, { OTEL_TRACES_EXPORTER: "none" }, ["/v1/logs", "/v1/metrics"]],
    ["nothing where the SDK is disabled", {}, { OTEL_SDK_DISABLED: "true" }, []]
  ])("sends %s", ([, options, environment, paths]) =>
    Effect.gen(function* () {
      assert.deepStrictEqual(pathsOf(yield* sent(program, options, environment)), paths)
    })
  )

  it.live("leaves Effect's own tracer where no spans are sent", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const look = Effect.asVoid(
        Effect.currentSpan.pipe(
          Effect.tap((span) => Effect.sync(() => seen.push(span.traceId))),
          Effect.withSpan("call"),
          Effect.orDie
        )
      )
      yield* sent(look, {}, { OTEL_TRACES_EXPORTER: "none" })
      assert.match(seen[0] ?? "", /^(?!0{32})[0-9a-f]{32}$/)
    })
  )

  it.live("fails on an interval that is no number, and names the variable", () =>
    Effect.gen(function* () {
      yield* withEnvironment({ OTEL_METRIC_EXPORT_INTERVAL: "soon" })(
        Effect.gen(function* () {
          const error = yield* Effect.flip(Effect.provide(Effect.void, TelemetryNode.layer()))
          assert.instanceOf(error, Config.ConfigError)
          assert.include(String(error), "OTEL_METRIC_EXPORT_INTERVAL")
        })
      )
    })
  )

  it.live("dies where the process has one already, which goes on", () =>
    Effect.gen(function* () {
      const { spans } = yield* sent(
        Effect.gen(function* () {
          const second = yield* Effect.exit(Effect.provide(Effect.void, TelemetryNode.layer()))
          assert(Exit.isFailure(second))
          assert.include(Cause.pretty(second.cause), "an OpenTelemetry SDK is registered in this process already")
          yield* Effect.withSpan(Effect.void, "after")
        })
      )
      assert.deepStrictEqual(
        spans.map(({ name }) => name),
        ["after"]
      )
    })
  )

  it.live("dies with what to install where the packages are missing", () =>
    Effect.gen(function* () {
      vi.doMock("@opentelemetry/sdk-node", () => {
        throw new Error("Cannot find package '@opentelemetry/sdk-node'")
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => vi.doUnmock("@opentelemetry/sdk-node")))
      const exit = yield* Effect.exit(Effect.provide(Effect.void, TelemetryNode.layer()))
      assert(Exit.isFailure(exit))
      assert.isTrue(Cause.hasDies(exit.cause))
      assert.include(Cause.pretty(exit.cause), "npm install @effect/opentelemetry")
    })
  )
})

/** A program of its own, which says when it has something to send; it takes a minute to give up on a collector. */
const child = (endpoint: string): ChildProcess =>
  spawn(process.execPath, ["--input-type=module", "--eval", source], {
    cwd: new URL("../", import.meta.url),
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_TIMEOUT: "60000" }
  })

const source = `
  import { Console, Effect } from "effect"
  import { NodeRuntime } from "@effect/platform-node"
  import { layer } from "./src/internal/telemetryNode.ts"
  Console.log("ready").pipe(
    Effect.withSpan("call"),
    Effect.andThen(Effect.never),
    Effect.provide(layer()),
    Effect.ensuring(Console.log("closed")),
    NodeRuntime.runMain
  )
`

/** What it said after SIGTERM, until it ended by itself; killed after 30 seconds, long before it would give up. */
const terminated = async (endpoint: string): Promise<string> => {
  const running = child(endpoint)
  const guard = setTimeout(() => running.kill("SIGKILL"), 30_000)
  let output = ""
  const closed = once(running, "close")
  running.stdout?.on("data", (chunk: Buffer) => {
    output += chunk.toString()
    if (output.includes("ready") && !output.includes("closed")) running.kill("SIGTERM")
  })
  await closed
  clearTimeout(guard)
  return `${output}${running.signalCode ?? ""}`
}

describe("layerNode at the end of a program", { timeout: 60_000 }, () => {
  it.live("ends it where the collector takes connections and never answers", () =>
    Effect.gen(function* () {
      const silent = yield* collector("silent")
      const output = yield* Effect.promise(() => terminated(silent.url))
      assert.strictEqual(silent.requests.length > 0, true)
      assert.match(output, /closed\n$/)
    })
  )

  it.live("ends it where there is no collector", () =>
    Effect.gen(function* () {
      const { url } = yield* Effect.scoped(collector())
      assert.match(yield* Effect.promise(() => terminated(url)), /closed\n$/)
    })
  )

  it.live("sends what is left before it ends", () =>
    Effect.gen(function* () {
      const there = yield* collector()
      assert.match(yield* Effect.promise(() => terminated(there.url)), /closed\n$/)
      assert.isTrue(there.requests.find(({ path }) => path === "/v1/traces")?.body.includes("call"))
    })
  )
})
