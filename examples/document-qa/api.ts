/** What the service offers over HTTP: clients, the reference page and the handlers are made from it. */
import { Schema } from "effect"
import * as Http from "effect/http-api"

const { HttpApiGroup, HttpApiMiddleware, HttpApiSchema } = Http
const { delete: remove, get, post } = Http.HttpApiEndpoint
const { Problem } = Http.HttpApiError
const { Array: List, Finite, Int, Literals, optionalKey, String: Text, Struct } = Schema

/** Every failure is a problem of RFC 9457, without a type of its own. */
const is = <const Status extends number>(status: Status, title: string) => ({ type: "about:blank", status, title })

/** Seconds, in the body and in the header `Retry-After`. */
const wait = { retryAfter: Int }

export class Unauthorized extends Problem<Unauthorized>()("Unauthorized", is(401, "Unauthorized")) {}
export class Forbidden extends Problem<Forbidden>()("Forbidden", is(403, "Forbidden")) {}
export class NotFound extends Problem<NotFound>()("NotFound", is(404, "Not Found")) {}
/** The question, the answer or the document is not one that may be worked with. */
export class Rejected extends Problem<Rejected>()("Rejected", is(422, "Unprocessable Content")) {}
/** A rate limit or a budget: both come back with time. */
export class Limited extends Problem<Limited>()("Limited", is(429, "Too Many Requests"), wait) {}
/** The model or a store does not answer. */
export class Unavailable extends Problem<Unavailable>()("Unavailable", is(503, "Service Unavailable"), wait) {}

export type Refusal = NotFound | Rejected | Limited | Unavailable
const error = [NotFound, Rejected, Limited, Unavailable] as const

/** A refusal inside of an answer. */
const Refused = Struct({ title: Text, status: Int, detail: optionalKey(Text), retryAfter: optionalKey(Int) })

/** Who asks, by `Authorization: Bearer <key>`. A service without keys takes every caller on loopback. */
export class Entrance extends HttpApiMiddleware.Service<Entrance>()("document-qa/Entrance", {
  security: { bearer: Http.HttpApiSecurity.bearer },
  error: [Unauthorized, Forbidden]
}) {}

const Usd = Finite
const textUpTo = (most: number) => Text.check(Schema.isMinLength(1), Schema.isMaxLength(most))
const Question = textUpTo(4_000)
const payload = Struct({ input: Question })

/** A passage of a document, and where it stands in its text. */
export const place = { document: Text, title: Text, heading: Text, passage: Int, from: Int, to: Int }
const Source = Struct({ ...place, similarity: Finite })

const Metadata = Struct({
  /** Which rung of the ladder answered, the best one first. */
  rung: Literals(["retrieval", "direct", "stale", "apology"]),
  sources: List(Source),
  /** Passages that were found, and left out because the injection guard refused them. */
  omitted: Int,
  /** Of the answer; embeddings are in `/budget`. */
  costUsd: Usd,
  cache: Text,
  provider: Text,
  model: Text,
  latencyMs: Finite
})
export type Metadata = typeof Metadata.Type

export const Output = Struct({ output: Text, metadata: Metadata })

const event = <const Name extends string, S extends Schema.Codec<unknown, unknown>>(name: Name, data: S) =>
  Struct({ id: Schema.optional(Text), event: Schema.Literal(name), data: Schema.fromJsonString(data) })

/** Sources first, then the text piece by piece, then how it came about; or what went wrong on the way. */
export const Event = Schema.Union([
  event("sources", List(Source)),
  event("data", Text),
  event("end", Struct({ metadata: Metadata })),
  event("error", Refused)
])
export type Event = typeof Event.Type

/** What the window of a limit has seen and has left: that of `all` is everybody's, that of `tenant` the caller's alone. */
const limit = { name: Text, window: Text, limitUsd: Usd, spentUsd: Usd, remainingUsd: Usd, resetSeconds: Finite }

export const Document = Struct({ id: Text, title: Text, characters: Int, passages: Int, createdAt: Text })
export type Document = typeof Document.Type

/** `rungs`: those that can answer now, beside the apology. */
const health = { rungs: List(Text), dependencies: Schema.Record(Text, Text) }

const Endpoints = HttpApiGroup.make("qa", { topLevel: true })
  .add(
    post("invoke", "/qa/invoke", { payload, success: Output, error }),
    post("batch", "/qa/batch", {
      payload: Struct({ inputs: List(Question).check(Schema.isMinLength(1), Schema.isMaxLength(20)) }),
      /** One for each input: an answer, or the problem of that input alone. */
      success: Struct({ outputs: List(Schema.Union([Output, Struct({ error: Refused })])) })
    }),
    post("stream", "/qa/stream", { payload, success: HttpApiSchema.StreamSse({ events: Event }), error }),
    /** `totalUsd`: all that the tenant ever spent. */
    get("budget", "/budget", { success: Struct({ totalUsd: Usd, limits: List(Struct(limit)) }), error }),
    get("list", "/documents", { success: List(Document), error }),
    post("upload", "/documents", {
      /** The end of the name says what it is: `.txt`, `.md`, `.html` or `.pdf`. */
      query: { name: textUpTo(200) },
      payload: Schema.Uint8Array.pipe(HttpApiSchema.asUint8Array()),
      success: Document.pipe(HttpApiSchema.status(201)),
      error
    }),
    remove("remove", "/documents/:id", { params: { id: Text }, success: HttpApiSchema.NoContent, error })
  )
  .middleware(HttpApiMiddleware.ProblemDetails)
  .middleware(Entrance)
  .add(
    get("live", "/live", { success: Struct({ status: Schema.Literal("alive") }) }),
    get("health", "/health", {
      success: [
        Struct({ status: Literals(["healthy", "degraded"]), ...health }),
        Struct({ status: Schema.Literal("unavailable"), ...health }).pipe(HttpApiSchema.status(503))
      ]
    })
  )

export class Api extends Http.HttpApi.make("document-qa")
  .add(Endpoints)
  .annotateMerge(Http.OpenApi.annotations({ title: "Document Q&A" })) {}
