import { once } from "node:events"
import { connect } from "node:net"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Layer, Metric } from "effect"
import { HttpClient, HttpRouter } from "effect/http"
import { Metrics } from "effect-ballast"
import * as Prometheus from "../src/internal/telemetryPrometheus.ts"
import { describePrometheus, promtool, scraping } from "./support/prometheus.ts"

const local: Prometheus.Options = { port: 0, host: "127.0.0.1" }

const url = Effect.map(Prometheus.PrometheusServer, ({ port }) => `http://127.0.0.1:${port}`)

const ask = (method: string, path: string) =>
  Effect.flatMap(url, (base) =>
    Effect.promise(async () => {
      const response = await fetch(`${base}${path}`, { method })
      return { status: response.status, headers: response.headers, body: await response.text() }
    })
  )

/** A registry of its own for each test, beneath the layers and the program alike. */
const fresh = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provideService(effect, Metric.MetricRegistry, new Map())

const call = Metrics.ofModel("openai", 'gpt "4"\n')

/** One sample at least of every metric that there is. */
const everyMetric = Effect.forEach(Metrics.definitions, ({ description, labels, name, type }) => {
  const attributes = Object.fromEntries(labels.map((label) => [label, `a ${label}`]))
  switch (type) {
    case "counter":
      return Metric.update(Metric.counter(name, { description, attributes, incremental: true }), 1)
    case "gauge":
      return Metric.update(Metric.gauge(name, { description, attributes }), 0.25)
    default:
      return Metric.update(
        Metric.histogram(name, { description, attributes, boundaries: Metrics.latencyBoundaries }),
        1.5
      )
  }
})

describe("layerPrometheus", { timeout: 30_000 }, () => {
  it.live("answers GET /metrics with what the program has counted", () =>
    Effect.gen(function* () {
      yield* Metric.update(call.success, 3)
      yield* Metric.update(Metrics.rateLimiterQueue, 7)
      const { body, headers, status } = yield* ask("GET", "/metrics?a=1")
      assert.strictEqual(status, 200)
      assert.strictEqual(headers.get("content-type"), "text/plain; version=0.0.4; charset=utf-8")
      assert.include(body, 'llm_requests_total{provider="openai",model="gpt \\"4\\"\\n",status="success"} 3\n')
      assert.include(body, "# TYPE llm_rate_limiter_queue gauge\nllm_rate_limiter_queue 7\n")
    }).pipe(Effect.provide(Prometheus.layer(local)), fresh)
  )

  it.live("shows the metrics of the program that it is provided to, and of no other", () =>
    Effect.gen(function* () {
      yield* Metric.update(call.error, 5)
      yield* fresh(Metric.update(call.error, 9))
      const { body } = yield* ask("GET", "/metrics")
      assert.match(body, /status="error"} 5\n$/)
    }).pipe(Effect.provide(Prometheus.layer(local)), fresh)
  )

  it.live("answers 404 elsewhere and 405 to another method", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* ask("GET", "/")).status, 404)
      assert.strictEqual((yield* ask("GET", "/metrics/")).status, 404)
      const { headers, status } = yield* ask("POST", "/metrics")
      assert.strictEqual(status, 405)
      assert.strictEqual(headers.get("allow"), "GET")
      assert.strictEqual((yield* ask("HEAD", "/metrics")).status, 405)
    }).pipe(Effect.provide(Prometheus.layer(local)), fresh)
  )

  it.live("answers where it is told to", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* ask("GET", "/prometheus")).status, 200)
      assert.strictEqual((yield* ask("GET", "/metrics")).status, 404)
    }).pipe(Effect.provide(Prometheus.layer({ ...local, path: "/prometheus" })), fresh)
  )

  it.live("answers 500 where a metric cannot be read, and goes on", () =>
    Effect.gen(function* () {
      const registry = yield* Metric.MetricRegistry
      yield* Metric.update(call.success, 1)
      const [[key, metadata] = ["", undefined]] = [...registry]
      assert(metadata !== undefined)
      const broken = () => {
        throw new Error("broken")
      }
      registry.set(key, { ...metadata, hooks: { ...metadata.hooks, get: broken } })
      const { body, status } = yield* ask("GET", "/metrics")
      assert.deepStrictEqual([status, body], [500, "A metric could not be read\n"])
      registry.set(key, metadata)
      assert.strictEqual((yield* ask("GET", "/metrics")).status, 200)
    }).pipe(Effect.provide(Prometheus.layer(local)), fresh)
  )

  it.live("closes with the layer, also while somebody is connected", () =>
    Effect.gen(function* () {
      const port = yield* Effect.scoped(
        Effect.gen(function* () {
          const server = Context.get(yield* Layer.build(Prometheus.layer(local)), Prometheus.PrometheusServer)
          yield* Effect.promise(() =>
            once(
              connect(server.port, "127.0.0.1").on("error", () => undefined),
              "connect"
            )
          )
          return server.port
        })
      )
      const [error] = yield* Effect.promise(() => once(connect(port, "127.0.0.1"), "error").catch((e: unknown) => [e]))
      assert.propertyVal(error, "code", "ECONNREFUSED")
    }).pipe(fresh)
  )

  it.live("cuts off who takes too long to ask", () =>
    Effect.gen(function* () {
      const { port } = yield* Prometheus.PrometheusServer
      const answer = yield* Effect.promise(async () => {
        const socket = connect(port, "127.0.0.1").setEncoding("utf8")
        let answer = ""
        socket.on("data", (chunk: string) => void (answer += chunk))
        socket.write("GET /metrics HTTP/1.1\r\nhost: a\r\n")
        await once(socket, "close")
        return answer
      })
      assert.include(answer, "408 Request Timeout")
    }).pipe(Effect.provide(Prometheus.layer(local)), fresh)
  )

  it.live("dies where it cannot listen, and says where", () =>
    Effect.gen(function* () {
      const { port } = yield* Prometheus.PrometheusServer
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Prometheus.layer({ ...local, port }))))
      assert(Exit.isFailure(exit))
      assert.include(
        Cause.pretty(exit.cause),
        `Telemetry.layerPrometheus: cannot listen on 127.0.0.1:${port}: EADDRINUSE`
      )
    }).pipe(Effect.provide(Prometheus.layer(local)), fresh)
  )

  it.each([-1, 65_536, 1.5, Number.NaN])("does not take %s for a port", (port) => {
    assert.throws(() => Prometheus.layer({ port }), RangeError, "port must be an integer from 0 to 65535")
  })
})

describe("route", () => {
  const served = (options?: Parameters<typeof Prometheus.route>[0]) =>
    HttpRouter.serve(Prometheus.route(options), { disableLogger: true, disableListenLog: true }).pipe(
      Layer.provideMerge(NodeHttpServer.layerTest)
    )

  it.live("answers on the program's own server with what the program has counted", () =>
    Effect.gen(function* () {
      yield* Metric.update(call.success, 2)
      yield* fresh(Metric.update(call.success, 9))
      const response = yield* HttpClient.get("/metrics")
      assert.strictEqual(response.status, 200)
      assert.strictEqual(response.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
      assert.match(yield* response.text, /status="success"} 2\n$/)
      assert.strictEqual((yield* HttpClient.get("/other")).status, 404)
    }).pipe(Effect.provide(served()), fresh)
  )

  it.live("answers where it is told to", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* HttpClient.get("/prometheus")).status, 200)
    }).pipe(Effect.provide(served({ path: "/prometheus" })), fresh)
  )
})

describePrometheus("a real Prometheus", { timeout: 60_000 }, () => {
  it.live("finds nothing to say about the metrics", () =>
    Effect.gen(function* () {
      yield* everyMetric
      const { body } = yield* ask("GET", "/metrics")
      assert.deepStrictEqual(promtool(["check", "metrics"], body), { code: 0, output: "" })
      for (const { name } of Metrics.definitions) assert.include(body, `# HELP ${name.replaceAll(".", "_")}`)
      assert.include(body, "# TYPE gen_ai_client_operation_duration_seconds histogram")
    }).pipe(Effect.provide(Prometheus.layer(local)), fresh)
  )

  it.live("scrapes the program, and answers questions about it", () =>
    Effect.gen(function* () {
      const { port } = yield* Prometheus.PrometheusServer
      yield* Metric.update(call.success, 3)
      yield* Metric.update(call.error, 1)
      yield* Effect.forEach([0.015, 0.5, 3, 700], (seconds) => Metric.update(call.latency, seconds))
      yield* Metric.update(Metrics.budgetRemaining("daily"), 2.5)
      const { query } = yield* scraping(`127.0.0.1:${port}`)
      const rate = yield* query("sum(llm_requests_total{status='error'}) / sum(llm_requests_total)")
      assert.deepStrictEqual(rate, [{ labels: {}, value: 0.25 }])
      const [requests] = yield* query("llm_requests_total{status='success'}")
      assert.containSubset(requests, { labels: { provider: "openai", model: 'gpt "4"\n', job: "ballast" }, value: 3 })
      const quick = yield* query("llm_latency_seconds_bucket{le='0.64'}")
      assert.strictEqual(quick[0]?.value, 2)
      assert.strictEqual((yield* query("llm_latency_seconds_count"))[0]?.value, 4)
      assert.strictEqual((yield* query("llm_budget_remaining_usd{limit='daily'}"))[0]?.value, 2.5)
      yield* Metric.update(call.success, 4)
      assert.strictEqual((yield* query("llm_requests_total{status='success'} == 7"))[0]?.value, 7)
    }).pipe(Effect.scoped, Effect.provide(Prometheus.layer(local)), fresh)
  )
})
