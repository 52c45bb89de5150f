/** The store behind a cache, of which nothing ever fails: what it cannot tell is a miss, counted and logged once. */
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Metric from "effect/Metric"
import type { Identity } from "../Caller.ts"
import type { Entry, Service as Store } from "../CacheStore.ts"
import type * as Response from "effect/ai/Response"
import type { LlmPart, Usage } from "../LlmResponse.ts"
import * as Metrics from "../Metrics.ts"
import type { Open as Receipt } from "../Receipt.ts"
import { check, type Stored } from "./cacheEntry.ts"
import type { Asked, Settings } from "./caching.ts"
import { onTheSpot } from "./onTheSpot.ts"
import type { StoreUnavailable } from "./reasons.ts"
import { StoreBreaker } from "./storeBreaker.ts"

/** An answer that was found. `expired`: only instead of a failure. */
export interface Found {
  readonly stored: Stored
  readonly state: "fresh" | "stale" | "expired"
  /** When it was made, in milliseconds. */
  readonly storedAt: number
}

const results = ["hit", "stale", "shared", "miss", "bypass"] as const
export type Result = (typeof results)[number]

/** Longest a store may keep a call; stores give up much sooner. */
const patience = Duration.seconds(1)

/** Who would have answered, and with how much. */
export interface Saved {
  readonly provider: string
  readonly model: string
  readonly usage: Usage
}

type Named = Pick<Asked, "key" | "partition">

export class CacheKeeper {
  readonly store: Store
  readonly counts: Record<Result | "stored" | "errors", number>
  /** What is told of each answer that cost nothing. */
  onSaved: ((saved: Saved, caller: Identity) => void) | undefined
  private readonly settings: Pick<Settings, "staleWhileRevalidate" | "staleIfError">
  private readonly context: Context.Context<never>
  private readonly breaker = new StoreBreaker()
  private readonly metrics: Record<Result | "errors", Metric.Metric<number, unknown>>

  constructor(store: Store, settings: CacheKeeper["settings"], context: Context.Context<never>) {
    this.store = store
    this.settings = settings
    this.context = context
    this.counts = { hit: 0, stale: 0, shared: 0, miss: 0, bypass: 0, stored: 0, errors: 0 }
    const metric = (result: Result) => Metrics.cacheRequests(result)
    this.metrics = {
      hit: metric("hit"),
      stale: metric("stale"),
      shared: metric("shared"),
      miss: metric("miss"),
      bypass: metric("bypass"),
      errors: Metrics.cacheErrors
    }
  }

  count(result: Result, receipt?: Receipt): void {
    this.counts[result]++
    this.metrics[result].updateUnsafe(1, this.context)
    if (receipt === undefined) return
    receipt.cache = result
    if (result !== "miss" && result !== "bypass") receipt.source = result === "shared" ? "shared" : "cache"
  }

  hit({ state, stored }: Found, { caller, receipt }: Pick<Asked, "caller" | "receipt">): void {
    this.count(state === "fresh" ? "hit" : "stale", receipt)
    this.saved(stored.parts, stored, caller)
  }

  /** An answer cost nothing that would have cost its usage. */
  saved(
    parts: ReadonlyArray<LlmPart | Response.PartEncoded>,
    { model, provider }: Omit<Saved, "usage">,
    caller: Identity
  ): void {
    if (this.onSaved === undefined) return
    const finish = parts.find((part) => part.type === "finish")
    if (finish !== undefined) this.onSaved({ provider, model, usage: finish.usage }, caller)
  }

  /** Of a store in this process. */
  findOnTheSpot({ key, partition }: Named, now: number): Found | undefined {
    const exit = onTheSpot(this.store.get(key, partition))
    return exit !== undefined && Exit.isSuccess(exit) ? this.found(exit.value, now) : undefined
  }

  find(named: Named): Effect.Effect<Found | undefined> {
    const { key, partition } = named
    const asked = Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.map(this.store.get(key, partition), (entry) => ({ entry, found: this.found(entry, now) }))
    )
    return Effect.flatMap(this.asking(asked), (answer) => {
      if (answer?.entry === undefined || answer.found !== undefined) return Effect.succeed(answer?.found)
      // it is none that was ever kept here
      return Effect.as(this.asking(this.store.delete(key, partition)), undefined)
    })
  }

  keep({ key, partition }: Named, value: Stored, timeToLive: number, bytes?: number): Effect.Effect<void> {
    const { staleIfError, staleWhileRevalidate } = this.settings
    const longest = timeToLive + Math.max(staleIfError, staleWhileRevalidate)
    const set = Effect.flatMap(Clock.currentTimeMillis, (createdAt) =>
      this.store.set(key, { value, createdAt, expiresAt: Math.ceil(createdAt + longest), bytes }, partition)
    )
    return this.asking(Effect.tap(set, () => Effect.sync(() => this.counts.stored++)))
  }

  private found(entry: Entry | undefined, now: number): Found | undefined {
    if (entry === undefined) return undefined
    // a store in this process holds the very value that it was given
    const stored = this.store.external ? check(entry.value) : (entry.value as Stored)
    if (stored === undefined) return undefined
    const { staleIfError, staleWhileRevalidate } = this.settings
    const freshUntil = entry.expiresAt - Math.max(staleIfError, staleWhileRevalidate)
    const state = now < freshUntil ? "fresh" : now < freshUntil + staleWhileRevalidate ? "stale" : "expired"
    return { stored, state, storedAt: entry.createdAt }
  }

  /** `undefined` where the store fails, is too slow, or is not asked since it failed again and again. */
  asking<A>(self: Effect.Effect<A, StoreUnavailable>): Effect.Effect<A | undefined> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (this.breaker.isOpen && !this.breaker.mayAsk(now)) return Effect.succeed(undefined)
      const { epoch } = this.breaker
      return Effect.matchCauseEffect(Effect.timeoutOption(self, patience), {
        onSuccess: (answer): Effect.Effect<A | undefined> =>
          answer._tag === "None" ? this.failed(epoch, "no answer") : this.succeeded(epoch, answer.value),
        onFailure: (cause) => this.failed(epoch, describe(cause.reasons))
      })
    })
  }

  private succeeded<A>(epoch: number, answer: A): Effect.Effect<A> {
    if (!this.breaker.succeeded(epoch)) return Effect.succeed(answer)
    return Effect.as(Effect.logInfo("The cache's store answers again"), answer)
  }

  private failed(epoch: number, description: string): Effect.Effect<undefined> {
    this.counts.errors++
    this.metrics.errors.updateUnsafe(1, this.context)
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (!this.breaker.failed(epoch, now)) return Effect.succeed(undefined)
      return Effect.as(
        Effect.logWarning(`The cache's store does not answer (${description}): calls go on without it`),
        undefined
      )
    })
  }
}

/** Only of errors that say what may be said; a bug is told by its kind. */
const describe = (reasons: ReadonlyArray<unknown>): string => {
  const [reason] = reasons
  if (typeof reason !== "object" || reason === null || !("error" in reason)) return "a defect"
  const { error } = reason
  return error instanceof Error ? error.message : "a defect"
}
