/**
 * Keeps calls below limits of requests, tokens and concurrency, several at once: an attempt takes all of them in one step,
 * estimated, and settles to what it really used when it ends, as a stream too.
 *
 * Who finds no room waits in a bounded queue and holds nothing: by priority, tenant by tenant in turn, then by arrival. The
 * first one sleeps until the very moment at which there is room, or until somebody gives back; nobody polls. Interrupting a
 * waiter takes nothing and changes nothing for the others. A 429 pauses all calls of that provider and key, and then one of
 * them tries. What a provider's headers say is left lowers our own count, never raises it.
 *
 * On a shared store (`RedisQuotaStore`) a whole fleet keeps the limits together; while it is gone, each process goes on with
 * its share of them.
 */
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Metric from "effect/Metric"
import * as Gate from "./Gate.ts"
import { type Configurable, configured } from "./internal/configurable.ts"
import { Limiter, type Settings } from "./internal/limiter.ts"
import * as limiterGate from "./internal/limiterGate.ts"
import * as limiterKeys from "./internal/limiterKeys.ts"
import { has, type Limits, parse, parseScope, type Scope } from "./internal/limits.ts"
import * as localShare from "./internal/localShare.ts"
import { integer, positiveMillis, waitMillis } from "./internal/options.ts"
import type { TokenCount } from "./internal/tokenCount.ts"
import type { RateLimitExceeded, StoreUnavailable } from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"
import * as Metrics from "./Metrics.ts"
import * as QuotaStore from "./QuotaStore.ts"
import { Tokens } from "./Tokens.ts"

export type { Algorithm, Count, Limit, Limits, Scope } from "./internal/limits.ts"
export type { CostInput, LimitState } from "./internal/limiterKeys.ts"
export type { TokenCount } from "./internal/tokenCount.ts"

/** Which limits hold, at least one here or in `scopes`, and what becomes of calls that do not fit them. */
export interface Options extends Limits {
  /** Limits for each tenant, user, ... beside those above, counted over all providers. */
  readonly scopes?: ReadonlyArray<Scope> | undefined
  /** What is counted together. Default: the calls to one endpoint with one credential. */
  readonly pool?: string | undefined
  /** How token limits count. Default `"usage"`. */
  readonly count?: TokenCount | undefined
  /** What a limit does to a call. Default `"wait"`. */
  readonly onLimit?: "wait" | "fail" | undefined
  /** Longest wait of one attempt, finite; what would take longer fails at once. Default 30 seconds. */
  readonly maxWait?: Duration.Input | undefined
  /** Most that wait for one limit, more fail at once. Default 1,000. */
  readonly maxQueue?: number | undefined
  /** Most of them of one tenant; callers without a tenant are not counted. Default 250. */
  readonly maxQueuePerTenant?: number | undefined
  /** Pause after a 429 that names none; one that names a time is heeded, up to a minute. Default 5 seconds. */
  readonly pause?: Duration.Input | undefined
  /** `"shadow"` counts, measures and logs what it would have stopped, and stops nothing. Default `"enforce"`. */
  readonly mode?: "enforce" | "shadow" | undefined
  /**
   * While a shared store does not answer: `"local"` keeps this process's share of the limits, `"allow"` no limit at all,
   * `"fail"` fails with `StoreUnavailable`. Default `"local"`.
   */
  readonly onStoreError?: "local" | "allow" | "fail" | undefined
  /** Processes that share the limits, at least 1. Default: as many as the store saw last, and never fewer than two. */
  readonly expectedInstances?: number | undefined
}

/**
 * A running limiter. `acquire`, `withPermits` and calls behind `gate` wait `maxWait` at most, and no longer than their
 * deadline; then, or at once with `onLimit: "fail"`, they fail with `RateLimitExceeded`. A bad cost throws `RangeError`.
 */
export interface Service {
  /** Waits until there is room under the key, and takes it for good: nothing is given back. Costs one request by default. */
  readonly acquire: (
    key: string,
    cost?: limiterKeys.CostInput
  ) => Effect.Effect<void, RateLimitExceeded | StoreUnavailable>
  /** Takes what there is room for now and says whether there was; never waits, and never overtakes those who do. */
  readonly tryAcquire: (key: string, cost?: limiterKeys.CostInput) => Effect.Effect<boolean, StoreUnavailable>
  /**
   * Runs an effect when there is room under the key, and holds its place among `concurrency` until it ends. Interrupted or
   * refused before it began, it takes nothing.
   */
  readonly withPermits: (options: {
    readonly key: string
    readonly cost?: limiterKeys.CostInput | undefined
  }) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E | RateLimitExceeded | StoreUnavailable, R>
  /** What is left of each limit, under a key or for a provider's calls. */
  readonly state: (
    of: { readonly key: string } | { readonly provider: LlmProvider.Service }
  ) => Effect.Effect<ReadonlyArray<limiterKeys.LimitState>, StoreUnavailable>
  /** All of it around model calls, as `Gate.through` wants it. */
  readonly gate: Gate.Gate
}

/** The limiter of the program, for keys of its own. `layer`, `withRateLimiter` and `Resilient.layer` provide it. */
export class RateLimiter extends Context.Service<RateLimiter, Service>()("ballast/RateLimiter") {}

/** Limits that can never work throw `RangeError`. */
export const make = (options: Options): Effect.Effect<Service, never, QuotaStore.QuotaStore> => {
  const settings = settingsOf(options)
  return Effect.gen(function* () {
    const store = localShare.over(yield* QuotaStore.QuotaStore)
    const context = yield* Effect.context()
    const watcher = watching(context)
    const limiter = new Limiter(settings, store, yield* Tokens, yield* Clock.Clock, watcher)
    return {
      acquire: (key, cost = 1) => limiterKeys.acquire(limiter, key, cost),
      tryAcquire: (key, cost = 1) => limiterKeys.tryAcquire(limiter, key, cost),
      withPermits: ({ cost = 1, key }) => limiterKeys.withPermits(limiter, key, cost),
      state: (of) =>
        Effect.suspend(() =>
          limiterKeys.state(limiter, ("key" in of ? limiter.ownOf(of.key) : limiter.poolOf(of.provider)).slots)
        ),
      gate: settings.shadow ? limiterGate.shadowing(limiter) : limiterGate.enforcing(limiter)
    }
  })
}

/** A limiter for `acquire`, `tryAcquire` and `withPermits`; model calls get theirs from `withRateLimiter` or `Resilient`. */
export const layer = (options: Options): Layer.Layer<RateLimiter, never, QuotaStore.QuotaStore> =>
  Layer.effect(RateLimiter, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (
  options: Configurable<Options>
): Layer.Layer<RateLimiter, Config.ConfigError, QuotaStore.QuotaStore> =>
  Layer.effect(RateLimiter, configured(options, make))

/** The provider of a layer behind a limiter, which the layer provides beside it. */
export const withRateLimiter = (options: Options) => {
  const made = make(options)
  return <A, E, R>(
    layer: Layer.Layer<A | LlmProvider.LlmProvider, E, R>
  ): Layer.Layer<A | LlmProvider.LlmProvider | RateLimiter, E, R | QuotaStore.QuotaStore> =>
    Layer.effectContext(
      Effect.gen(function* () {
        const limiter = yield* made
        const provider = Gate.through([limiter.gate])(yield* LlmProvider.LlmProvider)
        return Context.make(LlmProvider.LlmProvider, provider).pipe(Context.add(RateLimiter, limiter))
      })
    ).pipe(Layer.provideMerge(layer))
}

/** See `Service`. */
export const acquire = (key: string, cost?: limiterKeys.CostInput) =>
  Effect.flatMap(RateLimiter, (limiter) => limiter.acquire(key, cost))

/** See `Service`. */
export const tryAcquire = (key: string, cost?: limiterKeys.CostInput) =>
  Effect.flatMap(RateLimiter, (limiter) => limiter.tryAcquire(key, cost))

/** See `Service`. */
export const withPermits =
  (options: Parameters<Service["withPermits"]>[0]) =>
  <A, E, R>(self: Effect.Effect<A, E, R>) =>
    Effect.flatMap(RateLimiter, (limiter) => limiter.withPermits(options)(self))

/** See `Service`. */
export const state = (of: Parameters<Service["state"]>[0]) =>
  Effect.flatMap(RateLimiter, (limiter) => limiter.state(of))

const settingsOf = (options: Options): Settings => {
  const { expectedInstances, onStoreError = "local" } = options
  const instances =
    expectedInstances === undefined ? undefined : integer("RateLimiter.make: expectedInstances", expectedInstances, 1)
  const shadow = options.mode === "shadow"
  const outage = shadow || onStoreError === "allow" ? "allow" : onStoreError === "local" ? { instances } : undefined
  const scopes = (options.scopes ?? []).map((scope, i) => parseScope(`RateLimiter.make: scopes[${i}].`, scope, outage))
  const maxWait = waitMillis("RateLimiter.make: maxWait", options.maxWait ?? "30 seconds")
  return {
    limits: scopes.length > 0 && !has(options) ? [] : parse("RateLimiter.make: ", options, outage),
    scopes,
    count: options.count ?? "usage",
    pool: options.pool,
    shadow,
    waits: options.onLimit !== "fail",
    maxQueue: integer("RateLimiter.make: maxQueue", options.maxQueue ?? 1000, 0),
    maxQueuePerTenant: integer("RateLimiter.make: maxQueuePerTenant", options.maxQueuePerTenant ?? 250, 0),
    maxWait,
    pause: positiveMillis("RateLimiter.make: pause", options.pause ?? "5 seconds")
  }
}

const watching = (context: Context.Context<never>) => {
  const whys = {
    limited: Metrics.rateLimiterRefusedFor("limited"),
    "queue-full": Metrics.rateLimiterRefusedFor("queue-full"),
    "wait-too-long": Metrics.rateLimiterRefusedFor("wait-too-long"),
    "larger-than-limit": Metrics.rateLimiterRefusedFor("larger-than-limit")
  }
  return {
    waiting: (change: number) => Metrics.rateLimiterQueue.modifyUnsafe(change, context),
    waited: (millis: number) => Metrics.rateLimiterWait.updateUnsafe(millis / 1000, context),
    refused: (why: RateLimitExceeded["why"]) => whys[why].updateUnsafe(1, context),
    let: (limit: string) => Metric.withAttributes(Metrics.rateLimiterShadow, { limit }).updateUnsafe(1, context)
  }
}
