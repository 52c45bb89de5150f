/**
 * Answers that were given to a text of the same meaning are given again. It is a guess, and therefore off unless it is asked
 * for: measure it in `"shadow"` mode before.
 *
 * Compared is the last message of the user; everything else of the request, who would answer and whose it is must be equal. A
 * hit needs two things: embeddings whose cosine similarity is at least `threshold`, and texts with the same facts (numbers,
 * dates, quoted texts, negation, names and the like), which is what embeddings do not see. Answered from here are only texts:
 * never a call of a tool, never a message with files, never one longer than 2,000 characters.
 *
 * Vectors can be turned back into something like their texts: they are personal data, kept apart by tenant and cleared with
 * it. Facts are kept as digests, which `keySecret` makes keyed ones. An embedding model or a store that fails is a miss.
 */
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import * as EmbeddingModel from "effect/ai/EmbeddingModel"
import * as CacheStore from "./CacheStore.ts"
import { cacheable } from "./internal/cacheable.ts"
import { CacheKeeper, type Saved } from "./internal/cacheKeeper.ts"
import { type Configurable, configured } from "./internal/configurable.ts"
import { type Isolation, partitionOf, scopeOf } from "./internal/isolation.ts"
import { between, finiteMillis, integer } from "./internal/options.ts"
import * as requestKey from "./internal/requestKey.ts"
import { type PartitionOf, Semantic, type Settings } from "./internal/semantic.ts"
import type * as Caller from "./Caller.ts"
import type { StoreUnavailable } from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"
import type { LlmRequest } from "./LlmRequest.ts"
import { VectorIndex } from "./VectorIndex.ts"

/** What counts as the same meaning, for whom answers are kept, and for how long. */
export interface Options {
  /** Least cosine similarity of the embeddings, from 0 to 1; not a distance. Default 0.95. */
  readonly threshold?: number | undefined
  /** How long an answer is given again. Default 1 hour. */
  readonly timeToLive?: Duration.Input | undefined
  /** Who shares answers, as in `Cache`. Default `"tenant"`. */
  readonly isolation?: "tenant" | "user" | "shared" | undefined
  /** Which requests are compared at all. Default: all that can be. */
  readonly when?: ((request: LlmRequest) => boolean) | undefined
  /**
   * The part of the last message that is compared, word for word as it stands there; the rest of it must be equal.
   * Documents that stand beside a question would outweigh it. Default: all of the message but what
   * `LlmRequest.document` made.
   */
  readonly embed?: ((request: LlmRequest) => string | undefined) | undefined
  /** Longer texts are not compared, in characters. Default 2,000. */
  readonly maxTextLength?: number | undefined
  /** How long the embedding model may take; then it is a miss. Default 500 milliseconds. */
  readonly embedTimeout?: Duration.Input | undefined
  /** `"shadow"` counts what it would have answered, and answers nothing. Default `"enforce"`. */
  readonly mode?: "enforce" | "shadow" | undefined
  /** The part of hits, from 0 to 1, for which the model is asked as well, to measure how many are wrong. Default 0.01. */
  readonly sample?: number | undefined
  /** Cosine similarity from which on two answers say the same, for that measure. Default 0.9. */
  readonly agreement?: number | undefined
  /** Makes digests of facts that nobody can guess, and another cache. Default: plain digests. */
  readonly keySecret?: Redacted.Redacted | undefined
}

/** What the cache did since it was made, in this process. */
export interface Stats {
  /** Calls with a text of the same meaning; in `"shadow"` mode those that were made all the same. */
  readonly hits: number
  /** Calls without one. */
  readonly misses: number
  /** Near enough, but of other facts. */
  readonly gated: number
  /** Calls that cannot be compared, that `when` leaves out, or within `Cache.bypass` and `Cache.refresh`. */
  readonly bypassed: number
  /** Texts that could not be embedded, and vectors that the index refused. */
  readonly errors: number
  /** Answers that were given to the stores to keep. */
  readonly stored: number
  /** Hits that were compared with a new answer. */
  readonly sampled: number
  /** Of these, those where the new answer said something else. */
  readonly falseHits: number
}

/**
 * A running semantic cache. A call waits `embedTimeout` at most for its embedding, and a second at most for each
 * question to a store, before it is made and behind it; `clear` waits as long as the stores let it, and fails with
 * `StoreUnavailable`.
 */
export interface Service {
  /** The provider behind the cache. */
  readonly wrap: (inner: LlmProvider.Service) => LlmProvider.Service
  /** Forgets answers and vectors of a tenant (`undefined`: of callers without one), or all. */
  readonly clear: (only?: { readonly tenant: string | undefined }) => Effect.Effect<void, StoreUnavailable>
  /** Counts of this process. */
  readonly stats: Effect.Effect<Stats>
  /** What is told of each answer that cost nothing. For those who count savings; set once. */
  readonly onSaved: (told: (saved: Saved, caller: Caller.Identity) => void) => void
}

/**
 * The semantic cache of the program, to clear it and to look at its counts. `layer`, `withSemanticCache` and
 * `Resilient.layer` provide it.
 */
export class SemanticCache extends Context.Service<SemanticCache, Service>()("ballast/SemanticCache") {}

type Needs = CacheStore.CacheStore | VectorIndex | EmbeddingModel.EmbeddingModel

/** Options that can never work throw `RangeError`. What is still being measured ends with the scope. */
export const make = (options: Options = {}): Effect.Effect<Service, never, Needs | Scope.Scope> => {
  const settings = settingsOf(options)
  const named = partitionsOf(options.isolation ?? "tenant", requestKey.make({ secret: settings.secret }))
  return Effect.gen(function* () {
    const store = yield* CacheStore.CacheStore
    const index = yield* VectorIndex
    const context = yield* Effect.context()
    const keeper = new CacheKeeper(store, { staleIfError: 0, staleWhileRevalidate: 0 }, context)
    const model = yield* EmbeddingModel.EmbeddingModel
    const semantic = new Semantic({ settings, index, keeper, model, partitionOf: named, context })
    yield* Effect.addFinalizer(() => semantic.close)
    return {
      wrap: (inner) => semantic.wrap(inner),
      clear: (only) =>
        Effect.suspend(() => {
          const tenant = only && partitionOf(options.isolation ?? "tenant", only.tenant)
          const vectors = index.clear(only && { tenant })
          return Effect.andThen(vectors, store.clear(only && { partition: tenant }))
        }),
      stats: Effect.sync(() => {
        const {
          bypass: bypassed,
          error: errors,
          falseHits,
          gated,
          hit: hits,
          miss: misses,
          sampled,
          stored
        } = semantic.counts
        return { hits, misses, gated, bypassed, errors, stored, sampled, falseHits }
      }),
      onSaved: (told) => {
        keeper.onSaved = told
      }
    }
  })
}

/** For who wraps providers himself. */
export const layer = (options?: Options): Layer.Layer<SemanticCache, never, Needs> =>
  Layer.effect(SemanticCache, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (options: Configurable<Options>): Layer.Layer<SemanticCache, Config.ConfigError, Needs> =>
  Layer.effect(SemanticCache, configured(options, make))

/** The provider of a layer behind a semantic cache, which the layer provides beside it. */
export const withSemanticCache = (options?: Options) => {
  const made = make(options)
  return <A, E, R>(
    layer: Layer.Layer<A | LlmProvider.LlmProvider, E, R>
  ): Layer.Layer<A | LlmProvider.LlmProvider | SemanticCache, E, R | Needs> =>
    Layer.effectContext(
      Effect.gen(function* () {
        const cache = yield* made
        const provider = cache.wrap(yield* LlmProvider.LlmProvider)
        return Context.make(LlmProvider.LlmProvider, provider).pipe(Context.add(SemanticCache, cache))
      })
    ).pipe(Layer.provideMerge(layer))
}

const partitionsOf = (isolation: Isolation, key: ReturnType<typeof requestKey.make>): PartitionOf => {
  return (rest, provider, caller) => {
    if (!cacheable(rest)) return undefined
    const partition = key(rest, scopeOf("semantic-1", isolation, provider, caller))
    return partition === undefined ? undefined : { partition, tenant: partitionOf(isolation, caller.tenant) }
  }
}

const settingsOf = (options: Options): Settings => ({
  threshold: between("SemanticCache.make: threshold", options.threshold ?? 0.95, 0, 1),
  timeToLive: finiteMillis("SemanticCache.make: timeToLive", options.timeToLive ?? "1 hour"),
  embedTimeout: finiteMillis("SemanticCache.make: embedTimeout", options.embedTimeout ?? 500),
  longest: integer("SemanticCache.make: maxTextLength", options.maxTextLength ?? 2000, 1),
  enforces: options.mode !== "shadow",
  sample: between("SemanticCache.make: sample", options.sample ?? 0.01, 0, 1),
  agreement: between("SemanticCache.make: agreement", options.agreement ?? 0.9, 0, 1),
  secret: options.keySecret === undefined ? undefined : Redacted.value(options.keySecret),
  when: options.when ?? (() => true),
  embed: options.embed
})
