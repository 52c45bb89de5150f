/** One question on a ladder of four answers: from documents, without them, one that was given before, an apology. */
import { Clock, Context, Data, Duration, Effect, Exit, Layer, Schema, Scope, Stream } from "effect"
import { AiError } from "effect/ai"
import { Cache, Degrade, LlmError, LlmProvider, LlmRequest, Receipt } from "effect-ballast"
import type { LlmPart } from "effect-ballast/LlmResponse"
import { Limited, type Metadata, Rejected, type Source, Unavailable } from "./api.ts"
import { Documents } from "./documents.ts"
import { requestOf } from "./prompt.ts"
import type { Settings } from "./settings.ts"

export interface Question {
  readonly tenant: string
  readonly text: string
  readonly requestId: string
  /** `"stream"`: the text comes while it is made, for as long as the scope lives. */
  readonly how: "whole" | "stream"
}

export type Refusal = Rejected | Limited | Unavailable

class NothingFound extends Data.TaggedError("NothingFound")<{ readonly omitted: number }> {}

const apology = "I cannot answer right now. Please try again in a few minutes."

const ladder = ({ how, tenant, text }: Question, settings: Settings) => {
  const nearest = Effect.gen(function* () {
    const { found, omitted } = yield* Documents.use((documents) => documents.nearest(tenant, text))
    if (found.length === 0) return yield* new NothingFound({ omitted })
    return { sources: found, omitted, request: yield* LlmRequest.make(requestOf(text, found)) }
  })
  const asked = how === "whole" ? whole : opened
  const retrieval = Effect.flatMap(nearest, ({ request, ...found }) =>
    Effect.map(asked(request), (reply) => ({ ...reply, ...found }))
  )
  const direct = Effect.suspend(() => asked(requestOf(text, [])))
  const stale = Effect.gen(function* () {
    const { request, ...found } = yield* nearest
    const kept = yield* Effect.flatMap(Cache.stale(request), Effect.fromOption)
    return { ...silent(kept.text), ...found }
  })
  const rungs = [
    Degrade.rung("retrieval", retrieval),
    Degrade.rung("direct", direct),
    Degrade.rung("stale", stale, { asks: "nothing" }),
    Degrade.otherwise("apology", () => silent(apology))
  ] as const
  return Degrade.ladder(rungs, { within: settings.within })
}

/** `metadata` is complete when the text is over. */
const ask = (question: Question, settings: Settings) =>
  Effect.gen(function* () {
    const started = yield* Clock.currentTimeMillis
    const { failures, rung, value } = yield* ladder(question, settings)
    const errors = failures.map(({ error }) => error)
    if (rung === "apology") yield* refused(errors)
    const sources: ReadonlyArray<Source> = "sources" in value ? value.sources : []
    const omitted = "omitted" in value ? value.omitted : errors.reduce((sum, error) => sum + omittedOf(error), 0)
    const metadata: Effect.Effect<Metadata> = Effect.gen(function* () {
      const receipt = yield* value.receipt
      const attempts = [receipt, ...errors.map(receiptOf)].flatMap((one) => one?.attempts ?? [])
      const { cache = "none", model = "none", provider = "none" } = receipt ?? {}
      const costUsd = attempts.reduce((sum, { cost = 0 }) => sum + cost, 0) / 1e9
      const latencyMs = receipt?.latency ?? (yield* Clock.currentTimeMillis) - started
      const told = { requestId: question.requestId, sources, omitted, costUsd, cache, provider, model, latencyMs }
      return { ...told, rung: cache === "stale" ? "stale" : rung }
    })
    return { sources, metadata, text: value.text }
  })

type Needs = Documents | LlmProvider.LlmProvider | Cache.Cache

export class Answering extends Context.Service<Answering>()("document-qa/Answering", {
  make: (settings: Settings) =>
    Effect.map(Effect.context<Needs>(), (all) => {
      // no more than these: the scope of a stream is that of its request
      const context = Context.pick(Documents, LlmProvider.LlmProvider, Cache.Cache)(all)
      return { ask: (question: Question) => Effect.provideContext(ask(question, settings), context) }
    })
}) {
  static readonly layer = (settings: Settings) => Layer.effect(Answering, Answering.make(settings))
}

const omittedOf = (error: unknown) => (error instanceof NothingFound ? error.omitted : 0)
const receiptOf = (error: unknown) => (LlmError.isLlmError(error) ? error.receipt : undefined)

const silent = (text: string) => ({ text: Stream.make(text), receipt: Effect.succeed(undefined) })

const whole = (request: LlmRequest.Fields) =>
  Effect.map(LlmProvider.generate(request), ({ receipt, text }) => ({
    ...silent(text),
    receipt: Effect.succeed(receipt)
  }))

/** The stream once its first text is there: until then another rung may answer. */
const opened = (request: LlmRequest.Fields) =>
  Effect.gen(function* () {
    const scope = yield* Scope.fork(yield* Effect.scope)
    let last: LlmPart | undefined
    const textOf = (part: LlmPart) => {
      last = part
      return part.type === "text-delta" ? part.delta : ""
    }
    const texts = LlmProvider.stream(request).pipe(
      Stream.map(textOf),
      Stream.filter((text) => text !== "")
    )
    const pull = yield* Scope.provide(Stream.toPull(texts), scope)
    const first = yield* Effect.onExit(pull, (exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void))
    const text = Stream.concat(Stream.fromIterable(first), Stream.fromPull(Effect.succeed(pull)))
    return { text, receipt: Effect.sync(() => (isSigned(last) ? last.metadata.ballast.receipt : undefined)) }
  })

const isSigned = Schema.is(
  Schema.Struct({ metadata: Schema.Struct({ ballast: Schema.Struct({ receipt: Receipt.Receipt }) }) })
)

/** An apology is for outages: who asks too much, or for what must not be answered, is told so. */
const refused = (errors: ReadonlyArray<unknown>): Effect.Effect<void, Refusal> => {
  const refusals = errors.map(refusalOf)
  const found = refusals.find((one) => one instanceof Rejected) ?? refusals.find((one) => one instanceof Limited)
  return found === undefined ? Effect.void : Effect.fail(found)
}

export const unavailable = () => new Unavailable({ detail: "A part of the service is down", retryAfter: 5 })

/** What a failure is to the one who asked. */
export const refusalOf = (error: unknown): Refusal => {
  const known = AiError.isAiError(error) ? LlmError.fromAiError(error) : error
  if (!LlmError.isLlmError(known)) return unavailable()
  const retryAfter = Math.ceil(Duration.toSeconds(known.retryAfter ?? "5 seconds"))
  switch (known.reason._tag) {
    case "InputRejected":
    case "OutputRejected":
    case "ContextOverflow":
      return new Rejected({ detail: known.reason.message })
    case "BudgetExceeded":
    case "RateLimitExceeded":
      return new Limited({ detail: known.reason.message, retryAfter })
    default:
      return new Unavailable({ detail: "The model does not answer", retryAfter })
  }
}
