/**
 * Answers that were given before are given again, at no cost: never another tenant's, never half of one, never a failure.
 *
 * An answer is found by every field of its request, by who would answer and by whose it is. Only finished answers are kept,
 * that say something and were not cut off, filtered or made by tools on the provider's side. Equal calls at the same time
 * become one, which the first caller pays, which goes on while anybody waits for it, and ends when the last one leaves. A
 * stream is kept as it came and replayed part for part; who comes late gets what has passed and follows. Nothing of a request
 * is kept but a digest.
 *
 * A store that fails or is slow is a miss, counted and logged once: calls go on without it.
 */
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { dual } from "effect/Function"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { CacheControl, type Control } from "./CacheControl.ts"
import * as Caller from "./Caller.ts"
import * as CacheStore from "./CacheStore.ts"
import * as entries from "./internal/cacheEntry.ts"
import { cacheable } from "./internal/cacheable.ts"
import { CacheKeeper, type Saved } from "./internal/cacheKeeper.ts"
import { Caching, type KeyOf, type Settings } from "./internal/caching.ts"
import { type Configurable, configured } from "./internal/configurable.ts"
import { type Isolation, partitionOf, scopeOf } from "./internal/isolation.ts"
import { Memo } from "./internal/memo.ts"
import { finiteMillis, integer, millis, positiveMillis } from "./internal/options.ts"
import * as requestKey from "./internal/requestKey.ts"
import type { StoreUnavailable } from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"
import type { LlmRequest } from "./LlmRequest.ts"
import type { LlmResponse } from "./LlmResponse.ts"

/** What is kept, for whom and for how long. */
export interface Options {
  /** How long an answer is given again; each expires up to a tenth sooner. Default 1 hour. */
  readonly timeToLive?: Duration.Input | undefined
  /** Who shares answers: one tenant, one user of one, or all. Callers without a tenant share theirs. Default `"tenant"`. */
  readonly isolation?: "tenant" | "user" | "shared" | undefined
  /** Which requests are cached at all, for example those with `temperature: 0`. Default: every one that can be. */
  readonly when?: ((request: LlmRequest) => boolean) | undefined
  /** How long after its time an answer is still given, while it is asked for anew behind it. Default: not at all. */
  readonly staleWhileRevalidate?: Duration.Input | undefined
  /** How long after its time an answer stands in for a failure, which must allow a lesser answer. Default: not at all. */
  readonly staleIfError?: Duration.Input | undefined
  /**
   * How long an answer of another provider than the first one is kept, so that the first is asked again soon; 0 for not at
   * all. Default 1 minute.
   */
  readonly fallbackTimeToLive?: Duration.Input | undefined
  /** Longer answers are not kept, and not shared once they are that long, in characters of JSON. Default 1 MiB. */
  readonly maxEntryBytes?: number | undefined
  /** How long a shared call may take, whoever waits for it. Default 10 minutes. */
  readonly total?: Duration.Input | undefined
  /** What becomes of a call whose last caller leaves. `"drain"`: it goes on, and its answer is kept. Default `"abort"`. */
  readonly onAbandon?: "abort" | "drain" | undefined
  /** Makes keys that nobody can tell a guessed prompt from. Another secret is another cache. Default: a plain digest. */
  readonly keySecret?: Redacted.Redacted | undefined
}

/** What the cache did since it was made, in this process. */
export interface Stats {
  /** Calls that got what was kept, in its time. */
  readonly hits: number
  /** Calls that got it after its time: while it was asked for anew, or instead of a failure. */
  readonly stale: number
  /** Calls that joined one that was on its way. */
  readonly shared: number
  /** Calls that were made. */
  readonly misses: number
  /** Calls that cannot be cached, that `when` leaves out, or within `bypass`. */
  readonly bypassed: number
  /** Answers that were kept. */
  readonly stored: number
  /** Questions that the store did not answer. */
  readonly errors: number
  /** Of the store, as far as it knows. */
  readonly entries: number | undefined
  /** What they weigh, as far as the store knows. */
  readonly bytes: number | undefined
}

/** Which value is kept, and how. */
export interface Memoize<A, I> {
  /** Names the value, of one schema; what it depends on must be in it. Tenants do not share values unless the cache is `"shared"`. */
  readonly key: string
  /** How it is kept: what cannot be decoded any more is made anew. */
  readonly schema: Schema.Codec<A, I>
  /** Above zero and finite, or `memoize` throws `RangeError`. Default: that of the cache. */
  readonly timeToLive?: Duration.Input | undefined
}

/**
 * A running cache. To look, to keep and to count waits for the store a second at most each and never fails;
 * `invalidate` and `clear` wait as long as the store lets them, and fail with `StoreUnavailable`.
 */
export interface Service {
  /** The provider behind the cache. */
  readonly wrap: (inner: LlmProvider.Service) => LlmProvider.Service
  /** The answer that is kept for the provider of the context, also one whose time is over, as long as it is kept. */
  readonly stale: (request: LlmRequest) => Effect.Effect<Option.Option<LlmResponse>, never, LlmProvider.LlmProvider>
  /** Forgets the answer to a request, for the running `Caller`. */
  readonly invalidate: (request: LlmRequest) => Effect.Effect<void, StoreUnavailable, LlmProvider.LlmProvider>
  /** Forgets the answers of a tenant (`undefined`: of callers without one), or all. */
  readonly clear: (only?: { readonly tenant: string | undefined }) => Effect.Effect<void, StoreUnavailable>
  /** Counts of this process, and how much the store holds of all. */
  readonly stats: Effect.Effect<Stats>
  /** Any effect: its value is kept, failures are not, and equal ones at the same time run once, while anybody waits. */
  readonly memoize: <A, I>(options: Memoize<A, I>) => <E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** What is told of each answer that cost nothing. For those who count savings; set once. */
  readonly onSaved: (told: (saved: Saved, caller: Caller.Identity) => void) => void
}

/** The cache of the program, to ask it and to clear it. `layer`, `withCache` and `Resilient.layer` provide it. */
export class Cache extends Context.Service<Cache, Service>()("ballast/Cache") {}

/** Options that can never work throw `RangeError`. Calls that still run end with the scope. */
export const make = (options: Options = {}): Effect.Effect<Service, never, CacheStore.CacheStore | Scope.Scope> => {
  const settings = settingsOf(options)
  const isolation = options.isolation ?? "tenant"
  const secret = options.keySecret === undefined ? undefined : Redacted.value(options.keySecret)
  const keyOf = keysOf(isolation, requestKey.make({ secret }))
  return Effect.gen(function* () {
    const store = yield* CacheStore.CacheStore
    const context = yield* Effect.context()
    const keeper = new CacheKeeper(store, settings, context)
    const caching = new Caching(settings, keeper, keyOf)
    const memo = new Memo(keeper, settings.timeToLive)
    yield* Effect.addFinalizer(() => Effect.andThen(caching.close, memo.close))
    const asking = <A, E>(
      request: LlmRequest,
      none: A,
      ask: (named: { key: string; partition: string | undefined }) => Effect.Effect<A, E>
    ) =>
      Effect.flatMap(Effect.zip(LlmProvider.LlmProvider, Caller.Caller), ([provider, caller]) => {
        const named = keyOf(request, provider, caller)
        return named === undefined ? Effect.succeed(none) : ask(named)
      })
    return {
      wrap: (inner) => caching.wrap(inner),
      stale: (request) =>
        asking(request, Option.none<LlmResponse>(), (named) =>
          Effect.map(keeper.find(named), (found) =>
            found === undefined ? Option.none() : Option.some(entries.responseOf(found.stored, found.storedAt))
          )
        ),
      invalidate: (request) => asking(request, undefined, ({ key, partition }) => store.delete(key, partition)),
      clear: (only) => Effect.suspend(() => store.clear(only && { partition: partitionOf("tenant", only.tenant) })),
      stats: Effect.map(keeper.asking(store.size), (size) => {
        const { bypass: bypassed, errors, hit: hits, miss: misses, shared, stale, stored } = keeper.counts
        return { hits, stale, shared, misses, bypassed, stored, errors, entries: size?.entries, bytes: size?.bytes }
      }),
      memoize: <A, I>({ key, schema, timeToLive }: Memoize<A, I>) => {
        const kept = timeToLive === undefined ? undefined : finiteMillis("Cache.memoize: timeToLive", timeToLive)
        return <E, R>(self: Effect.Effect<A, E, R>) =>
          Effect.flatMap(Caller.Caller, (caller) => {
            const partition = partitionOf(isolation, caller.tenant)
            const name = JSON.stringify(["memo", key, isolation === "user" ? (caller.user ?? null) : null])
            return memo.run({ key: name, partition, schema, timeToLive: kept }, self)
          })
      },
      onSaved: (told) => {
        keeper.onSaved = told
      }
    }
  })
}

/** For `memoize`; model calls get theirs from `withCache` or `Resilient`. */
export const layer = (options?: Options): Layer.Layer<Cache, never, CacheStore.CacheStore> =>
  Layer.effect(Cache, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (
  options: Configurable<Options>
): Layer.Layer<Cache, Config.ConfigError, CacheStore.CacheStore> => Layer.effect(Cache, configured(options, make))

/** The provider of a layer behind a cache, which the layer provides beside it. */
export const withCache = (options?: Options) => {
  const made = make(options)
  return <A, E, R>(
    layer: Layer.Layer<A | LlmProvider.LlmProvider, E, R>
  ): Layer.Layer<A | LlmProvider.LlmProvider | Cache, E, R | CacheStore.CacheStore> =>
    Layer.effectContext(
      Effect.gen(function* () {
        const cache = yield* made
        const provider = cache.wrap(yield* LlmProvider.LlmProvider)
        return Context.make(LlmProvider.LlmProvider, provider).pipe(Context.add(Cache, cache))
      })
    ).pipe(Layer.provideMerge(layer))
}

/** See `Service`. */
export const stale = (request: LlmRequest) => Effect.flatMap(Cache, (cache) => cache.stale(request))

/** See `Service`. */
export const invalidate = (request: LlmRequest) => Effect.flatMap(Cache, (cache) => cache.invalidate(request))

/** See `Service`. */
export const clear = (only?: { readonly tenant: string | undefined }) =>
  Effect.flatMap(Cache, (cache) => cache.clear(only))

/** See `Service`. */
export const stats: Effect.Effect<Stats, never, Cache> = Effect.flatMap(Cache, (cache) => cache.stats)

/** See `Service`. */
export const memoize =
  <A, I>(options: Memoize<A, I>) =>
  <E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | Cache> =>
    Effect.flatMap(Cache, (cache) => cache.memoize(options)(self))

const controlled =
  (change: (outer: Control) => Control) =>
  <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.updateService(self, CacheControl, change)

/** Calls within are made as if there were no cache: nothing is looked for, kept or shared. */
export const bypass: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = controlled((outer) => ({
  ...outer,
  mode: "bypass"
}))

/** Calls within are made anew, and their answers kept. */
export const refresh: <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R> = controlled((outer) => ({
  ...outer,
  mode: "refresh"
}))

/** Answers of calls within are kept that long: above zero and finite, or it throws `RangeError`. */
export const timeToLive: {
  (duration: Duration.Input): <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  <A, E, R>(self: Effect.Effect<A, E, R>, duration: Duration.Input): Effect.Effect<A, E, R>
} = dual(2, <A, E, R>(self: Effect.Effect<A, E, R>, duration: Duration.Input): Effect.Effect<A, E, R> => {
  const kept = Duration.millis(finiteMillis("Cache.timeToLive: duration", duration))
  return controlled((outer) => ({ ...outer, timeToLive: kept }))(self)
})

/** The same for a stream, wherever it runs: `Cache.controlStream({ mode: "refresh" })`. */
export const controlStream =
  (control: Partial<Control>) =>
  <A, E, R>(self: Stream.Stream<A, E, R>): Stream.Stream<A, E, R> =>
    Stream.updateService(self, CacheControl, (outer) => ({ ...outer, ...control }))

/** Of the form in which answers are stored. */
const form = "1"

const keysOf = (isolation: Isolation, key: ReturnType<typeof requestKey.make>): KeyOf => {
  return (request, provider, caller) => {
    if (!cacheable(request)) return undefined
    const found = key(request, scopeOf(form, isolation, provider, caller))
    return found === undefined ? undefined : { key: found, partition: partitionOf(isolation, caller.tenant) }
  }
}

const settingsOf = (options: Options): Settings => ({
  timeToLive: finiteMillis("Cache.make: timeToLive", options.timeToLive ?? "1 hour"),
  staleWhileRevalidate: staleMillis("staleWhileRevalidate", options.staleWhileRevalidate),
  staleIfError: staleMillis("staleIfError", options.staleIfError),
  fallbacks: millis("Cache.make: fallbackTimeToLive", options.fallbackTimeToLive ?? "1 minute"),
  maxEntryBytes: integer("Cache.make: maxEntryBytes", options.maxEntryBytes ?? 2 ** 20, 1),
  total: positiveMillis("Cache.make: total", options.total ?? "10 minutes"),
  drains: options.onAbandon === "drain",
  when: options.when ?? (() => true)
})

const staleMillis = (name: string, input: Duration.Input | undefined): number =>
  input === undefined ? 0 : finiteMillis(`Cache.make: ${name}`, input)
