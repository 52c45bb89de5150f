/**
 * The whole stack from one record of slots. The order of the policies is here and nowhere else; `docs/order.md` says why.
 *
 * A slot that is not named is not used, but for `timeouts`, `telemetry` and `fallback` (by the list of providers). Two of
 * these layers in one program provide the same service: give them to different parts of it.
 */
import * as Arr from "effect/Array"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as Budget from "./Budget.ts"
import * as Cache from "./Cache.ts"
import { CacheStore } from "./CacheStore.ts"
import * as CircuitBreaker from "./CircuitBreaker.ts"
import type { CircuitBreakerStore } from "./CircuitBreakerStore.ts"
import * as Degrade from "./Degrade.ts"
import * as Fallback from "./Fallback.ts"
import * as Gate from "./Gate.ts"
import * as Guardrails from "./Guardrails.ts"
import * as Hedge from "./Hedge.ts"
import { type Configurable, configured } from "./internal/configurable.ts"
import { CacheKeeper } from "./internal/cacheKeeper.ts"
import { finiteMillis, integer } from "./internal/options.ts"
import * as resilientEmbeddings from "./internal/resilientEmbeddings.ts"
import type { Exact } from "./internal/exact.ts"
import * as circuitsOf from "./internal/stackCircuits.ts"
import * as LlmProvider from "./LlmProvider.ts"
import type { Pricing } from "./Pricing.ts"
import type { QuotaStore } from "./QuotaStore.ts"
import * as RateLimiter from "./RateLimiter.ts"
import * as Retry from "./Retry.ts"
import * as SemanticCache from "./SemanticCache.ts"
import * as Telemetry from "./Telemetry.ts"
import * as Timeouts from "./Timeouts.ts"
import type { VectorIndex } from "./VectorIndex.ts"

/** The policies, each by its options. A slot is used when it is there, also as `{}`. */
export interface Slots {
  /** How long a call, an attempt, the first part and a pause may take. Always there, with the defaults of `Timeouts`. */
  readonly timeouts?: Timeouts.Options | undefined
  /** Tells of every call: metrics, spans where there is a tracer, lines in the log. Always there; `false` leaves it out. */
  readonly telemetry?: Telemetry.Options | false | undefined
  /** What answers when no provider does. */
  readonly degrade?: Degrade.Options | undefined
  /** Looks at requests before they are answered from a cache or sent. `{}` for the defaults of `Guardrails`. */
  readonly inputGuard?: Guardrails.InputOptions | undefined
  /** Gives answers again that were given before. */
  readonly cache?: Cache.Options | undefined
  /** Gives answers again that were given to a text of the same meaning: a guess, measure it in `mode: "shadow"` before. */
  readonly semanticCache?: SemanticCache.Options | undefined
  /** Looks at answers before they are kept or given out, streams too. `{}` for the defaults of `Guardrails`. */
  readonly outputGuard?: Guardrails.OutputOptions | undefined
  /** How the call moves along the providers, and what becomes of a stream that breaks. */
  readonly fallback?: Fallback.Options | undefined
  /** Starts the next provider when one is slow. Needs two providers; list one twice to hedge it with itself. */
  readonly hedge?: Hedge.Options | undefined
  /** Asks a provider again before the next one is asked. */
  readonly retry?: RetryOptions | undefined
  /** Keeps attempts from a provider that is failing, or that refuses the key. */
  readonly circuitBreaker?: CircuitBreaker.Options | undefined
  /** Keeps what attempts cost below limits of money. */
  readonly budget?: Budget.Options | undefined
  /** Keeps attempts below limits of requests, tokens and concurrency. */
  readonly rateLimiter?: RateLimiter.Options | undefined
  /** Gates of your own, once per attempt, before those of the other slots. */
  readonly gates?: ReadonlyArray<Gate.Gate> | undefined
}

/** As `Retry.Options`, with a bound of its own where another provider follows. */
export interface RetryOptions extends Retry.Options {
  /** Most retries at a provider that another one follows, instead of `times`; may be 0. Default 1. */
  readonly timesBeforeFallback?: number | undefined
}

/** A layer that provides an `LlmProvider`, with whatever errors and needs. */
export type Provider = Layer.Layer<LlmProvider.LlmProvider, unknown, unknown>

/** The providers, and the policies around them. */
export interface Options extends Slots {
  /** Asked in this order. */
  readonly providers: readonly [Provider, ...ReadonlyArray<Provider>]
}

/** What a slot in use provides beside the provider, and what it needs. */
interface Provided {
  readonly cache: Cache.Cache
  readonly semanticCache: SemanticCache.SemanticCache
  readonly budget: Budget.Budget
  readonly circuitBreaker: CircuitBreaker.CircuitBreaker
  readonly rateLimiter: RateLimiter.RateLimiter
}
interface Required {
  readonly cache: CacheStore
  readonly semanticCache: CacheStore | VectorIndex | EmbeddingModel.EmbeddingModel
  readonly budget: QuotaStore | Pricing
  readonly circuitBreaker: CircuitBreakerStore
  readonly rateLimiter: QuotaStore
}

/** Slots with services that are there and not `undefined`. */
type Used<O> = { [K in keyof O]: [Exclude<O[K], undefined>] extends [never] ? never : K }[keyof O] & keyof Provided

type ErrorOf<O extends Pick<Options, "providers">> = Layer.Error<O["providers"][number]>
type ServicesOf<O extends Pick<Options, "providers">> = Layer.Services<O["providers"][number]>

/** From the outside in. What stands behind `fallback` is made once for each provider. */
export const order = [
  "deadline",
  "telemetry",
  "degrade",
  "inputGuard",
  "cache",
  "semanticCache",
  "outputGuard",
  "fallback",
  "retry",
  "gates",
  "timeouts"
] as const

/** The providers as one, behind the slots, whose services come with it. Bad options throw `RangeError`. */
export const layer = <const O extends Options>(
  options: O & Exact<O, Options, keyof Slots>
): Layer.Layer<LlmProvider.LlmProvider | Provided[Used<O>], ErrorOf<O>, ServicesOf<O> | Required[Used<O>]> =>
  Layer.effectContext(stack(options.providers, options)) as Layer.Layer<
    LlmProvider.LlmProvider | Provided[Used<O>],
    ErrorOf<O>,
    ServicesOf<O> | Required[Used<O>]
  > // a list of layers fails and needs what any of them does, and the slots in use provide their services

type ConfigurableOptions = Pick<Options, "providers"> & {
  readonly [K in keyof Slots]?: Configurable<NonNullable<Slots[K]>> | undefined
}

/** The same record, where any part of a slot may be a `Config`; the providers stay layers. */
export const layerConfig = <const O extends ConfigurableOptions>(
  options: O & Exact<O, ConfigurableOptions, keyof Slots>
): Layer.Layer<
  LlmProvider.LlmProvider | Provided[Used<O>],
  ErrorOf<O> | Config.ConfigError,
  ServicesOf<O> | Required[Used<O>]
> => {
  const { providers, ...slots } = options as Pick<Options, "providers"> & Configurable<Slots> // what O extends
  const made = configured(slots, (read: Slots) => stack(providers, read))
  return Layer.effectContext(made) as Layer.Layer<
    LlmProvider.LlmProvider | Provided[Used<O>],
    ErrorOf<O> | Config.ConfigError,
    ServicesOf<O> | Required[Used<O>]
  > // as in `layer`
}

/** Throws for options that can never work; the rest happens when the layer is built. */
const stack = (providers: Options["providers"], slots: Slots) => {
  const wrap = make(slots, providers.length)
  const caching = slots.cache && Cache.make({ total: slots.timeouts?.total, ...slots.cache })
  const guessing = slots.semanticCache && SemanticCache.make(slots.semanticCache)
  const gating = gatesOf(slots)
  return Effect.gen(function* () {
    const services = yield* Effect.forEach(providers, LlmProvider.build)
    if (slots.circuitBreaker !== undefined) yield* circuitsOf.show("answers", services)
    const { gates, provided: ofGates } = yield* gating
    let provided = ofGates
    const budget = Option.getOrUndefined(Context.getOption(provided, Budget.Budget))
    const cache = caching && (yield* caching)
    if (cache !== undefined) provided = Context.add(provided, Cache.Cache, cache)
    const semanticCache = guessing && (yield* guessing)
    if (semanticCache !== undefined) provided = Context.add(provided, SemanticCache.SemanticCache, semanticCache)
    if (budget !== undefined) for (const one of [cache, semanticCache]) one?.onSaved(budget.saved)
    const caches = { cache: cache?.wrap, semanticCache: semanticCache?.wrap }
    return Context.add(provided, LlmProvider.LlmProvider, wrap(services, gates, caches))
  })
}

type GateSlots = Pick<Slots, "gates" | "circuitBreaker" | "budget" | "rateLimiter">

/** The gates of the slots in their order, and their services. */
const gatesOf = (slots: GateSlots) => {
  const breaking = slots.circuitBreaker && CircuitBreaker.make(slots.circuitBreaker)
  const budgeting = slots.budget && Budget.make(slots.budget)
  const limiting = slots.rateLimiter && RateLimiter.make(slots.rateLimiter)
  return Effect.gen(function* () {
    const gates = [...(slots.gates ?? [])]
    let provided: Context.Context<never> = Context.empty()
    const use = <I, S extends { readonly gate: Gate.Gate }>(key: Context.Key<I, S>, service: S) => {
      gates.push(service.gate)
      provided = Context.add(provided, key, service)
    }
    if (breaking !== undefined) use(CircuitBreaker.CircuitBreaker, yield* breaking)
    if (budgeting !== undefined) use(Budget.Budget, yield* budgeting)
    if (limiting !== undefined) use(RateLimiter.RateLimiter, yield* limiting)
    return { gates, provided }
  })
}

/** Whose vectors, and the policies around the model that makes them. */
export interface EmbeddingsOptions extends GateSlots, Pick<Slots, "timeouts" | "retry"> {
  /** A layer that provides an `EmbeddingModel`, `OpenAi.embeddings` for one. */
  readonly model: Layer.Layer<EmbeddingModel.EmbeddingModel, unknown, unknown>
  /** Whose model it is: priced, limited and told of by this and its name. */
  readonly provider: string
  /** What the model is called. */
  readonly name: string
  /** Vectors by text: for a day unless `timeToLive` says so, by tenant unless `"shared"`. Default: none is kept. */
  readonly cache?:
    | (Pick<Cache.Options, "timeToLive"> & { readonly isolation?: "tenant" | "shared" | undefined })
    | undefined
}

/**
 * An `EmbeddingModel` with the policies of the slots, each batch of texts a call. There is no fallback: vectors of two models
 * have nothing to do with each other. The same `budget` here and in `layer` is one, on the same store. Failures are
 * `AiError`s; `LlmError.fromAiError` gives back ours. Bad options throw `RangeError`.
 */
export const embeddings = <const O extends EmbeddingsOptions>(
  options: O & Exact<O, EmbeddingsOptions, keyof GateSlots | "timeouts" | "retry" | "cache">
): EmbeddingsLayer<O> => {
  const { cache, model, name, provider, ...slots } = options as EmbeddingsOptions // what O extends
  const wrap = make({ ...slots, telemetry: false }, 1)
  const gating = gatesOf(slots)
  const timeToLive = finiteMillis("Resilient.embeddings: cache.timeToLive", cache?.timeToLive ?? "1 day")
  const endpoint = resilientEmbeddings.endpointOf({ provider, model: name })
  const built = Effect.gen(function* () {
    if (slots.circuitBreaker !== undefined) yield* circuitsOf.show("embeddings", [{ provider, model: name, endpoint }])
    const inner = Context.get(yield* Layer.build(model), EmbeddingModel.EmbeddingModel)
    const { gates } = yield* gating
    const keeper =
      cache && new CacheKeeper(yield* CacheStore, { staleIfError: 0, staleWhileRevalidate: 0 }, yield* Effect.context())
    const kept = keeper && { keeper, timeToLive, isShared: cache.isolation === "shared" }
    return yield* resilientEmbeddings.make(inner, { provider, model: name }, (one) => wrap([one], gates), kept)
  })
  return Layer.effect(EmbeddingModel.EmbeddingModel, built) as EmbeddingsLayer<O> // as in `layer`
}

type EmbeddingsLayer<O extends EmbeddingsOptions> = Layer.Layer<
  EmbeddingModel.EmbeddingModel,
  Layer.Error<O["model"]>,
  Layer.Services<O["model"]> | Required[Used<O>]
>

/** The circuit of one provider's endpoint, as it is now. */
export type Circuit = circuitsOf.Circuit

/** How the circuits of all providers are, whose stacks and embeddings stand on the store of the context. */
export const circuits: Effect.Effect<ReadonlyArray<Circuit>, never, CircuitBreakerStore> = circuitsOf.all

type Name = (typeof order)[number]
type Caches = { readonly [K in "cache" | "semanticCache"]?: Wrap | undefined }
type Wrap = (inner: LlmProvider.Service) => LlmProvider.Service

/** The stack over services, in the order above or, to try it out, another. It is given what the slots' services made. */
export const make = (slots: Slots, providers: number, names: ReadonlyArray<Name> = order) => {
  const { hedge, retry, timeouts } = slots
  if (hedge !== undefined && providers < 2) {
    throw new RangeError(`Resilient.layer: hedge needs at least two providers, got ${providers}`)
  }
  const times = integer("Resilient.layer: retry.timesBeforeFallback", retry?.timesBeforeFallback ?? 1, 0)
  const wraps: Record<Exclude<Name, "fallback" | "retry" | "cache" | "semanticCache">, Wrap> = {
    deadline: Timeouts.deadline(timeouts, retry?.maxAttempts, slots.telemetry !== false),
    telemetry: slots.telemetry === false ? unchanged : Telemetry.make(slots.telemetry),
    degrade: slots.degrade === undefined ? unchanged : Degrade.make(slots.degrade),
    inputGuard: slots.inputGuard === undefined ? unchanged : Guardrails.makeInput(slots.inputGuard),
    outputGuard: slots.outputGuard === undefined ? unchanged : Guardrails.makeOutput(slots.outputGuard),
    gates: unchanged,
    timeouts: Timeouts.make(timeouts)
  }
  const last = { ...wraps, retry: retry === undefined ? unchanged : Retry.make(retry) }
  const before = { ...wraps, retry: retry === undefined ? unchanged : Retry.make({ ...retry, times }) }
  const fallback = Fallback.make(
    { maxAttempts: retry?.maxAttempts, ...slots.fallback },
    hedge === undefined ? undefined : Hedge.race(hedge)
  )
  const split = names.indexOf("fallback")
  const wrap = (
    service: LlmProvider.Service,
    part: ReadonlyArray<Name>,
    wrappers: Record<Exclude<Name, "fallback">, Wrap>
  ) => part.reduceRight((inner, name) => (name === "fallback" ? inner : wrappers[name](inner)), service)
  return (
    services: Arr.NonEmptyReadonlyArray<LlmProvider.Service>,
    gates: ReadonlyArray<Gate.Gate> = slots.gates ?? [],
    { cache = unchanged, semanticCache = unchanged }: Caches = {}
  ): LlmProvider.Service => {
    const gated = { gates: Gate.through(gates), cache, semanticCache }
    const candidates = Arr.map(services, (service, i) =>
      wrap(service, names.slice(split + 1), { ...(i === services.length - 1 ? last : before), ...gated })
    )
    return wrap(fallback(candidates), names.slice(0, split), { ...last, ...gated })
  }
}

const unchanged: Wrap = (inner) => inner
