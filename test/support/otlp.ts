/** A stand-in for an OpenTelemetry collector: takes OTLP over HTTP as JSON, and shows what arrived. */
import { Buffer } from "node:buffer"
import { once } from "node:events"
import { createServer, type IncomingMessage } from "node:http"
import { Effect, Schema, type Scope } from "effect"

type Value = string | number | boolean | undefined

interface Span {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly kind: number
  readonly attributes: Readonly<Record<string, Value>>
  readonly resource: Readonly<Record<string, Value>>
}

interface Point {
  readonly name: string
  readonly unit: string | undefined
  readonly attributes: Readonly<Record<string, Value>>
  /** Of a counter or gauge the value, of a histogram the sum. */
  readonly value: number
  /** Of a histogram. */
  readonly count: number | undefined
}

interface Log {
  readonly body: unknown
  readonly severity: string | undefined
  readonly traceId: string | undefined
  readonly spanId: string | undefined
  readonly attributes: Readonly<Record<string, Value>>
}

export interface Collector {
  readonly url: string
  readonly spans: ReadonlyArray<Span>
  readonly points: ReadonlyArray<Point>
  readonly logs: ReadonlyArray<Log>
  readonly requests: ReadonlyArray<{
    readonly path: string
    readonly headers: IncomingMessage["headers"]
    readonly body: Buffer
  }>
}

/** `silent`: takes connections and never answers. */
export const collector = (mode: "answers" | "silent" = "answers"): Effect.Effect<Collector, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => listen(mode)),
    ({ close }) => Effect.promise(close)
  )

const listen = async (mode: "answers" | "silent") => {
  const requests: Array<Collector["requests"][number]> = []
  const server = createServer((request, response) => {
    const chunks: Array<Buffer> = []
    request.on("data", (chunk: Buffer) => chunks.push(chunk))
    request.on("end", () => {
      requests.push({ path: request.url ?? "", headers: request.headers, body: Buffer.concat(chunks) })
      if (mode === "answers") response.writeHead(200, { "content-type": "application/json" }).end("{}")
    })
  }).listen(0, "127.0.0.1")
  await once(server, "listening")
  const address = server.address()
  const port = typeof address === "object" && address !== null ? address.port : 0
  const bodies = <A>(path: string, decode: (body: string) => A) =>
    requests.filter((request) => request.path === path).map(({ body }) => decode(body.toString()))
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    get spans() {
      return bodies("/v1/traces", decodeTraces).flatMap(spansOf)
    },
    get points() {
      return bodies("/v1/metrics", decodeMetrics).flatMap(pointsOf)
    },
    get logs() {
      return bodies("/v1/logs", decodeLogs).flatMap(logsOf)
    },
    close: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, "close")
    }
  }
}

const optional = Schema.optional
const Text = optional(Schema.String)
const Count = Schema.Union([Schema.String, Schema.Number])
const AnyValue = Schema.Struct({
  stringValue: Text,
  intValue: optional(Count),
  doubleValue: optional(Schema.Number),
  boolValue: optional(Schema.Boolean)
})
const Attributes = Schema.Array(Schema.Struct({ key: Schema.String, value: Schema.Unknown }))
const Resource = Schema.Struct({ attributes: Attributes })
const DataPoint = Schema.Struct({
  attributes: optional(Attributes),
  asInt: optional(Count),
  asDouble: optional(Schema.Number),
  sum: optional(Schema.Number),
  count: optional(Count)
})
const DataPoints = optional(Schema.Struct({ dataPoints: Schema.Array(DataPoint) }))

const Traces = Schema.Struct({
  resourceSpans: Schema.Array(
    Schema.Struct({
      resource: Resource,
      scopeSpans: Schema.Array(
        Schema.Struct({
          spans: Schema.Array(
            Schema.Struct({
              name: Schema.String,
              traceId: Schema.String,
              spanId: Schema.String,
              parentSpanId: Text,
              kind: Schema.Number,
              attributes: Attributes
            })
          )
        })
      )
    })
  )
})

const Metrics = Schema.Struct({
  resourceMetrics: Schema.Array(
    Schema.Struct({
      scopeMetrics: Schema.Array(
        Schema.Struct({
          metrics: Schema.Array(
            Schema.Struct({
              name: Schema.String,
              unit: Text,
              sum: DataPoints,
              gauge: DataPoints,
              histogram: DataPoints
            })
          )
        })
      )
    })
  )
})

const Logs = Schema.Struct({
  resourceLogs: Schema.Array(
    Schema.Struct({
      scopeLogs: Schema.Array(
        Schema.Struct({
          logRecords: Schema.Array(
            Schema.Struct({
              body: Schema.Unknown,
              severityText: Text,
              traceId: Text,
              spanId: Text,
              attributes: Attributes
            })
          )
        })
      )
    })
  )
})

const decodeTraces = Schema.decodeUnknownSync(Schema.fromJsonString(Traces))
const decodeMetrics = Schema.decodeUnknownSync(Schema.fromJsonString(Metrics))
const decodeLogs = Schema.decodeUnknownSync(Schema.fromJsonString(Logs))
const decodeValue = Schema.decodeUnknownSync(AnyValue)

const scalar = (value: unknown): Value => {
  const { boolValue, doubleValue, intValue, stringValue } = decodeValue(value)
  return stringValue ?? doubleValue ?? boolValue ?? (intValue === undefined ? undefined : Number(intValue))
}

const record = (attributes: typeof Attributes.Type = []): Readonly<Record<string, Value>> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, scalar(value)]))

const spansOf = ({ resourceSpans }: typeof Traces.Type): ReadonlyArray<Span> =>
  resourceSpans.flatMap(({ resource, scopeSpans }) =>
    scopeSpans
      .flatMap(({ spans }) => spans)
      .map((span) => ({
        name: span.name,
        traceId: span.traceId,
        spanId: span.spanId,
        parentSpanId: span.parentSpanId,
        kind: span.kind,
        attributes: record(span.attributes),
        resource: record(resource.attributes)
      }))
  )

const pointsOf = ({ resourceMetrics }: typeof Metrics.Type): ReadonlyArray<Point> =>
  resourceMetrics
    .flatMap(({ scopeMetrics }) => scopeMetrics)
    .flatMap(({ metrics }) => metrics)
    .flatMap(({ gauge, histogram, name, sum, unit }) =>
      [...(sum?.dataPoints ?? []), ...(gauge?.dataPoints ?? []), ...(histogram?.dataPoints ?? [])].map((point) => ({
        name,
        unit,
        attributes: record(point.attributes),
        value: Number(point.asDouble ?? point.asInt ?? point.sum),
        count: point.count === undefined ? undefined : Number(point.count)
      }))
    )

const logsOf = ({ resourceLogs }: typeof Logs.Type): ReadonlyArray<Log> =>
  resourceLogs
    .flatMap(({ scopeLogs }) => scopeLogs)
    .flatMap(({ logRecords }) => logRecords)
    .map((log) => ({
      body: scalar(log.body),
      severity: log.severityText,
      traceId: log.traceId,
      spanId: log.spanId,
      attributes: record(log.attributes)
    }))
