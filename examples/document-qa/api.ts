/** What the service offers over HTTP: clients, the reference page and the handlers are made from it. */
import { Context, Schema } from "effect"
import * as Http from "effect/http-api"

const { HttpApiEndpoint, HttpApiError, HttpApiGroup, HttpApiMiddleware, HttpApiSchema } = Http
const { Array: List, Finite, Int, String: Text, Struct } = Schema

/** Every failure is a problem of RFC 9457, without a type of its own. */
const is = <const Status extends number>(status: Status, title: string) => ({ type: "about:blank", status, title })

export class Unauthorized extends HttpApiError.Problem<Unauthorized>()("Unauthorized", is(401, "Unauthorized")) {}
export class Forbidden extends HttpApiError.Problem<Forbidden>()("Forbidden", is(403, "Forbidden")) {}
export class NotFound extends HttpApiError.Problem<NotFound>()("NotFound", is(404, "Not Found")) {}
export class TooSlow extends HttpApiError.Problem<TooSlow>()("TooSlow", is(408, "Request Timeout")) {}
export class TooLarge extends HttpApiError.Problem<TooLarge>()("TooLarge", is(413, "Content Too Large")) {}

/** The question, the answer or the document is not one that may be worked with. */
export class Rejected extends HttpApiError.Problem<Rejected>()("Rejected", is(422, "Unprocessable Content")) {}

/** Seconds, in the body and in the header `Retry-After`. */
const wait = { retryAfter: Int }

/** A rate limit or a budget: both come back with time. */
export class Limited extends HttpApiError.Problem<Limited>()("Limited", is(429, "Too Many Requests"), wait) {}
export class Unavailable extends HttpApiError.Problem<Unavailable>()(
  "Unavailable",
  is(503, "Service Unavailable"),
  wait
) {}

const headers = { "retry-after": Schema.FiniteFromString }
const told = {
  decode: <E>({ body }: { readonly body: E }) => body,
  encode: <E extends { readonly retryAfter: number }>(body: E) => ({
    body,
    headers: { "retry-after": body.retryAfter }
  })
}
const down = Unavailable.pipe(HttpApiSchema.encodeToWithHeaders({ body: Unavailable, headers }, told))
const limited = Limited.pipe(HttpApiSchema.encodeToWithHeaders({ body: Limited, headers }, told))
const refusals = [Rejected, limited, down]

/** Who asks. Only the key says so, never the request. */
export class Principal extends Context.Service<Principal, { readonly tenant: string }>()("document-qa/Principal") {}

/** `Authorization: Bearer prefix.secret`; a service without keys takes every caller on loopback. */
export class Authentication extends HttpApiMiddleware.Service<Authentication, { provides: Principal }>()(
  "document-qa/Authentication",
  { security: { bearer: Http.HttpApiSecurity.bearer }, error: [Unauthorized, Forbidden] }
) {}

/** Takes the body in before anything is done with it: counted while it comes, and within a time. */
export class Body extends HttpApiMiddleware.Service<Body>()("document-qa/Body", { error: [TooLarge, TooSlow] }) {}

const textUpTo = (most: number) => Text.check(Schema.isMinLength(1), Schema.isMaxLength(most))
const Question = textUpTo(4_000)
const Questions = List(Question).check(Schema.isMinLength(1), Schema.isMaxLength(20))

/** A passage of a document, and where it stands in its text. */
const place = { document: Text, title: Text, heading: Text, passage: Int, from: Int, to: Int }
export const Source = Struct({ ...place, similarity: Finite })
export type Source = typeof Source.Type

const Metadata = Struct({
  requestId: Text,
  /** Which rung of the ladder answered, the best one first. */
  rung: Schema.Literals(["retrieval", "direct", "stale", "apology"]),
  sources: List(Source),
  /** Passages that were found, and left out because the injection guard refused them. */
  omitted: Int,
  /** Of the answer; embeddings are in `/budget`. */
  costUsd: Finite,
  cache: Text,
  provider: Text,
  model: Text,
  latencyMs: Finite
})
export type Metadata = typeof Metadata.Type

export const Output = Struct({ output: Text, metadata: Metadata })
export const Problem = Struct({ title: Text, status: Int, detail: Text, retryAfter: Schema.optionalKey(Int) })

const event = <const Name extends string, S extends Schema.Codec<unknown, unknown>>(name: Name, data: S) =>
  Struct({ id: Schema.optional(Text), event: Schema.Literal(name), data: Schema.fromJsonString(data) })

/** Sources first, then the text piece by piece, then how it came about; or what went wrong on the way. */
export const Event = Schema.Union([
  event("sources", List(Source)),
  event("data", Text),
  event("end", Struct({ metadata: Metadata })),
  event("error", Problem)
])

const limit = { name: Text, window: Text, limitUsd: Finite, remainingUsd: Finite, resetSeconds: Finite }

const Qa = HttpApiGroup.make("qa").add(
  HttpApiEndpoint.post("invoke", "/qa/invoke", {
    payload: Struct({ input: Question }),
    success: Output,
    error: refusals
  }),
  HttpApiEndpoint.post("batch", "/qa/batch", {
    payload: Struct({ inputs: Questions }),
    /** One for each input: an answer, or the problem of that input alone. */
    success: Struct({ outputs: List(Schema.Union([Output, Struct({ error: Problem })])) })
  }),
  HttpApiEndpoint.post("stream", "/qa/stream", {
    payload: Struct({ input: Question }),
    success: HttpApiSchema.StreamSse({ events: Event }),
    error: refusals
  }),
  HttpApiEndpoint.get("budget", "/budget", {
    success: Struct({ spentUsd: Finite, limits: List(Struct(limit)) }),
    error: down
  })
)

export const Document = Struct({ id: Text, title: Text, characters: Int, passages: Int, createdAt: Text })
export type Document = typeof Document.Type

const Documents = HttpApiGroup.make("documents").add(
  HttpApiEndpoint.get("list", "/documents", { success: List(Document), error: down }),
  HttpApiEndpoint.post("upload", "/documents", {
    /** The end of the name says what it is: `.txt`, `.md`, `.html` or `.pdf`. */
    query: { name: textUpTo(200) },
    payload: Schema.Uint8Array.pipe(HttpApiSchema.asUint8Array()),
    success: Document.pipe(HttpApiSchema.status(201)),
    error: refusals
  }),
  HttpApiEndpoint.delete("remove", "/documents/:id", {
    params: { id: Text },
    success: HttpApiSchema.NoContent,
    error: [NotFound, down]
  })
)

/** `rungs`: those that can answer now, beside the apology. */
const health = { rungs: List(Text), dependencies: Schema.Record(Text, Text) }

const Operations = HttpApiGroup.make("operations", { topLevel: true }).add(
  HttpApiEndpoint.get("live", "/live", { success: Struct({ status: Schema.Literal("alive") }) }),
  HttpApiEndpoint.get("health", "/health", {
    success: [
      Struct({ status: Schema.Literals(["healthy", "degraded"]), ...health }),
      Struct({ status: Schema.Literal("unavailable"), ...health }).pipe(HttpApiSchema.status(503))
    ]
  })
)

export class Api extends Http.HttpApi.make("document-qa")
  .add(Qa, Documents)
  .middleware(Body)
  .middleware(HttpApiMiddleware.ProblemDetails)
  .middleware(Authentication)
  .add(Operations)
  .annotateMerge(Http.OpenApi.annotations({ title: "Document Q&A" })) {}
