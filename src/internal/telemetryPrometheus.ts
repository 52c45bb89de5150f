/** All metrics of the program as text for Prometheus: a server of its own, or a route of the server that is there. */
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as HttpRouter from "effect/http/HttpRouter"

export interface Options {
  /** Default 9464; 0 takes a free one, which `PrometheusServer` tells. */
  readonly port?: number | undefined
  /**
   * The address to listen on. Default: all of the machine's, since scrapers come from other machines. There is no password,
   * and models, names of limits and money are shown: keep the port inside the network, or state `"127.0.0.1"`.
   */
  readonly host?: string | undefined
  /** Default `/metrics`. */
  readonly path?: `/${string}` | undefined
}

/** The server that answers. */
export class PrometheusServer extends Context.Service<PrometheusServer, { readonly port: number }>()(
  "ballast/PrometheusServer"
) {}

/**
 * Answers `GET /metrics` for as long as the layer lives, with the metrics of the program it is provided to. Dies when it
 * cannot listen.
 */
export const layer = (options: Options = {}): Layer.Layer<PrometheusServer> => {
  const { port = 9464 } = options
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new RangeError(`Telemetry.layerPrometheus: port must be an integer from 0 to 65535, got ${port}`)
  }
  return Layer.effect(
    PrometheusServer,
    Effect.gen(function* () {
      const { createServer } = yield* Effect.promise(() => import("node:http"))
      const server = createServer(limits, answer(yield* page, options.path ?? "/metrics"))
      server.maxConnections = 100
      server.timeout = 30_000
      return { port: yield* Effect.acquireRelease(listen(server, port, options.host), () => close(server)) }
    })
  )
}

/** The same as a route of the program's own `HttpRouter`. */
export const route = (
  options: { readonly path?: HttpRouter.PathInput | undefined } = {}
): Layer.Layer<never, never, HttpRouter.HttpRouter> =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const text = yield* page
      const { HttpRouter } = yield* Effect.promise(() => import("effect/http/HttpRouter"))
      const Response = yield* Effect.promise(() => import("effect/http/HttpServerResponse"))
      const router = yield* HttpRouter
      const response = Effect.sync(() => Response.text(text(), { contentType }))
      yield* router.add("GET", options.path ?? "/metrics", response)
    })
  )

const contentType = "text/plain; version=0.0.4; charset=utf-8"

/** A scrape is one short request without a body: who takes longer to ask is cut off. */
const limits = {
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 8_192
}

/**
 * The metrics are those of the registry in the context that the layer is built in, whoever asks. The module is loaded here,
 * since it brings all of `effect/http` along.
 */
const page = Effect.gen(function* () {
  const context = yield* Effect.context()
  const { formatUnsafe } = yield* Effect.promise(() => import("effect/observability/PrometheusMetrics"))
  return () => formatUnsafe(context, { metricNameMapper })
})

/** Prometheus wants the unit in the name; OpenTelemetry's durations are in seconds. */
const metricNameMapper = (name: string) => (name.endsWith(".duration") ? `${name}.seconds` : name)

const answer = (page: () => string, path: string) => (request: IncomingMessage, response: ServerResponse) => {
  const say = (status: number, body: string, headers: Readonly<Record<string, string>> = {}) =>
    response.writeHead(status, { "content-type": contentType, ...headers }).end(body)
  response.on("error", () => undefined) // the scraper left
  if ((request.url ?? "/").split("?", 1)[0] !== path) return say(404, "Not found\n")
  if (request.method !== "GET") return say(405, "Method not allowed\n", { allow: "GET" })
  try {
    return say(200, page())
  } catch {
    return say(500, "A metric could not be read\n")
  }
}

/** A port that cannot be had is a defect: nobody can go on from it. */
const listen = (server: Server, port: number, host: string | undefined): Effect.Effect<number> =>
  Effect.callback((resume) => {
    server.on("error", (error) => {
      const code = "code" in error ? String(error.code) : error.message
      const where = `${host === undefined ? "" : `${host}:`}${port}`
      resume(Effect.die(new Error(`Telemetry.layerPrometheus: cannot listen on ${where}: ${code}`)))
    })
    server.listen({ port, host }, () => {
      const address = server.address()
      resume(Effect.succeed(typeof address === "object" && address !== null ? address.port : port))
    })
  })

const close = (server: Server): Effect.Effect<void> =>
  Effect.callback((resume) => {
    server.close(() => resume(Effect.void))
    server.closeAllConnections()
  })
