/**
 * Keeps what model calls cost below limits of money, several at once: at every admission
 * `spent + reserved + new <= limit`, in one atomic step, whoever asks at the same time.
 *
 * An attempt reserves what it is expected to cost (its input, and an answer as long as 95 % of the last ones) and is charged
 * what it did cost when it ends; so at any time `spent` passes a limit by no more than what the calls that were unsettled at
 * the last admission cost above their reservations. `strict` reserves the most that they may cost, and that sum is zero. A
 * retry, a hedge, a fallback and a stream whose reader left are charged each; a call that was never sent is not. A model
 * without a price is refused. Money is an integer of nano-USD, and every charge is a line of the store's `Ledger`.
 *
 * It counts in a `QuotaStore`: with `SqlQuotaStore` or `RedisQuotaStore` a restart forgets nothing and a fleet shares its
 * limits; in memory a restart begins anew, which it warns of. A store that does not answer refuses calls with
 * `StoreUnavailable`: it is never guessed what was spent. Calls that do not go through it are not counted; the provider's
 * invoice is the truth.
 */
import * as Clock from "effect/Clock"
import type * as Config from "effect/Config"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Caller from "./Caller.ts"
import * as Gate from "./Gate.ts"
import { type Alert, Alerts } from "./internal/budgetAlerts.ts"
import * as books from "./internal/budgetBooks.ts"
import { gateOf } from "./internal/budgetGate.ts"
import { type Limit, parse } from "./internal/budgetLimits.ts"
import * as calendar from "./internal/calendar.ts"
import { type Configurable, configured } from "./internal/configurable.ts"
import * as localShare from "./internal/localShare.ts"
import { MemoryQuotaStore } from "./internal/memoryQuotaStore.ts"
import { between, waitMillis } from "./internal/options.ts"
import { Purse, type Settings } from "./internal/purse.ts"
import { Savings } from "./internal/savings.ts"
import { type Line, type Mismatch, nanoPerUsd, type Query, type Sum } from "./Ledger.ts"
import type { LlmError, StoreUnavailable } from "./LlmError.ts"
import * as LlmProvider from "./LlmProvider.ts"
import type * as LlmRequest from "./LlmRequest.ts"
import { Pricing } from "./Pricing.ts"
import * as QuotaStore from "./QuotaStore.ts"
import { Tokens } from "./Tokens.ts"

export type { Alert } from "./internal/budgetAlerts.ts"
export type { Adjustment, Remaining, Saving } from "./internal/budgetBooks.ts"
export type { By, Limit, Window } from "./internal/budgetLimits.ts"

/** The limits of money, and what becomes of calls that do not fit them. */
export interface Options {
  /** All of them hold; a call is refused by the first that it does not fit. */
  readonly limits: ReadonlyArray<Limit>
  /** IANA time zone of hours, days, weeks and months. Default `"UTC"`. */
  readonly zone?: string | undefined
  /**
   * Reserves the most that a call may cost, by its bytes, its `maxOutputTokens` (without which it fails) and the dearest
   * price: no limit is ever passed, if the provider keeps to `maxOutputTokens` and runs no tools of its own. Default `false`.
   */
  readonly strict?: boolean | undefined
  /** Parts of a limit, above 0 and up to 1, that `alerts` tells of. Default 0.5, 0.8 and 1. */
  readonly thresholds?: ReadonlyArray<number> | undefined
  /**
   * `"next"`: a provider that is too dear is passed over, the next one is priced as itself. `"fail"`: no other is asked.
   * Default `"next"`.
   */
  readonly onExceeded?: "next" | "fail" | undefined
  /**
   * What is charged for a call that was sent and then lost. `"estimate"`: what was reserved or came of it, whichever is more.
   * `"delivered"`: its input and what came of the answer, though thinking that nobody saw is billed, too. `"drain"`: as
   * `"estimate"`, but a call whose caller left is read to its end, 30 seconds at most, and charged what it used. Default
   * `"estimate"`.
   */
  readonly onLost?: "estimate" | "delivered" | "drain" | undefined
  /**
   * How long a call waits that would fit if others of this process, which are on their way, cost less than they reserved;
   * then it is refused without a time to come again. What is spent is refused at once. 0 waits for nothing;
   * must be finite. Default 10 seconds.
   */
  readonly maxWait?: Duration.Input | undefined
  /**
   * `"shadow"` counts, charges and tells (`alerts`, `llm_budget_shadow_total`), and refuses nothing, also when the store does
   * not answer. Default `"enforce"`.
   */
  readonly mode?: "enforce" | "shadow" | undefined
  /** Budgets of one name on one store count together. Default `"default"`. */
  readonly name?: string | undefined
}

/**
 * A running budget. What is asked of its store waits for it as long as the store lets a question take, and then fails
 * with `StoreUnavailable`; only calls behind `gate` wait for more, `maxWait` at most.
 */
export interface Service {
  /** All of it around model calls, as `Gate.through` wants it. */
  readonly gate: Gate.Gate
  /** Thresholds that were passed, each once per window and for all processes together; slow readers miss the oldest. */
  readonly alerts: Stream.Stream<Alert>
  /** Whether the call would be admitted now, with the provider of the context; fails with `Unpriced`. */
  readonly canAfford: (request: LlmRequest.Input) => Effect.Effect<boolean, LlmError, LlmProvider.LlmProvider>
  /** What the limits have left for the running `Caller`; limits by model are asked for the provider that is given. */
  readonly remaining: (
    of?: Pick<LlmProvider.Service, "provider" | "model">
  ) => Effect.Effect<ReadonlyArray<Remaining>, StoreUnavailable>
  /** Nano-USD that were spent today, or what the query asks for. */
  readonly spent: (query?: Omit<Query, "by">) => Effect.Effect<number, StoreUnavailable>
  /** What was spent and saved, by model if nothing else is asked for, the largest amount first. */
  readonly report: (query?: Partial<Query>) => Effect.Effect<ReadonlyArray<Sum>, StoreUnavailable>
  /** The last lines of the ledger, newest first. Default 100. */
  readonly lines: (limit?: number) => Effect.Effect<ReadonlyArray<Line>, StoreUnavailable>
  /** Counters that do not say what the ledger's lines sum up to: none, unless something was lost. */
  readonly check: Effect.Effect<ReadonlyArray<Mismatch>, StoreUnavailable>
  /** Books by hand what was paid or came back elsewhere, for the running `Caller`, whatever the limits are. */
  readonly adjust: (adjustment: books.Adjustment) => Effect.Effect<void, StoreUnavailable>
  /** Notes an answer from a cache, which cost nothing, for the running `Caller`; one without a price is not noted. */
  readonly save: (saving: books.Saving) => Effect.Effect<void, StoreUnavailable>
  /** As `save`, without waiting: sums are written every second and when the budget ends, and lost if the store fails. */
  readonly saved: (saving: books.Saving, caller: Caller.Identity) => void
  /** Takes out of the ledger who the tenant's callers were; what was paid stays. */
  readonly forget: (tenant: string) => Effect.Effect<void, StoreUnavailable>
}

type Remaining = books.Remaining

/** The budget of the program, to ask it and to book by hand. `layer`, `withBudget` and `Resilient.layer` provide it. */
export class Budget extends Context.Service<Budget, Service>()("ballast/Budget") {}

/** Options that can never work throw `RangeError`; so does a store without a ledger when the budget is built, as a defect. */
export const make = (
  options: Options
): Effect.Effect<Service, never, QuotaStore.QuotaStore | Pricing | Scope.Scope> => {
  const settings = settingsOf(options)
  const thresholds = thresholdsOf(options.thresholds ?? [0.5, 0.8, 1])
  return Effect.gen(function* () {
    const store = localShare.over(yield* QuotaStore.QuotaStore)
    const { ledger } = store
    if (ledger === undefined) {
      return yield* Effect.die(
        new RangeError("Budget: the quota store keeps no ledger, so that no money can be counted in it")
      )
    }
    yield* warnOf(store)
    const purse = new Purse({
      settings,
      store,
      ledger,
      pricing: yield* Pricing,
      tokens: yield* Tokens,
      clock: yield* Clock.Clock,
      alerts: yield* Alerts.make(store, thresholds),
      context: yield* Effect.context()
    })
    const savings = new Savings(
      purse,
      ({ caller, nanoUsd, ...of }) => Caller.provide(books.saveNano(purse, of, nanoUsd), caller),
      yield* Effect.context()
    )
    yield* Effect.addFinalizer(() => savings.close)
    const today = () => ({ from: settings.dayAt(purse.now()), until: settings.dayAt(purse.now()) })
    return {
      gate: gateOf(purse),
      alerts: purse.alerts.stream,
      canAfford: (request) => books.canAfford(purse, request),
      remaining: (of = anyModel) => books.remaining(purse, of),
      spent: (query) =>
        Effect.suspend(() =>
          Effect.map(ledger.report({ ...(query ?? today()), by: [] }), (sums) => sums[0]?.amount ?? 0)
        ),
      report: (query) => Effect.suspend(() => ledger.report({ by: ["provider", "model"], ...query })),
      lines: (limit) => Effect.suspend(() => ledger.lines(limit)),
      check: ledger.check,
      adjust: (adjustment) => books.adjust(purse, adjustment),
      save: (saving) => books.save(purse, saving),
      saved: (saving, caller) => savings.add(saving, caller),
      forget: (tenant) => Effect.suspend(() => ledger.forget(tenant))
    }
  })
}

/** For programs that ask it themselves; model calls get theirs from `withBudget` or `Resilient`. */
export const layer = (options: Options): Layer.Layer<Budget, never, QuotaStore.QuotaStore | Pricing> =>
  Layer.effect(Budget, make(options))

/** The same options, any of them as a `Config`; options that can never work are a `ConfigError`. */
export const layerConfig = (
  options: Configurable<Options>
): Layer.Layer<Budget, Config.ConfigError, QuotaStore.QuotaStore | Pricing> =>
  Layer.effect(Budget, configured(options, make))

/** The provider of a layer behind a budget, which the layer provides beside it. */
export const withBudget = (options: Options) => {
  const made = make(options)
  return <A, E, R>(
    layer: Layer.Layer<A | LlmProvider.LlmProvider, E, R>
  ): Layer.Layer<A | LlmProvider.LlmProvider | Budget, E, R | QuotaStore.QuotaStore | Pricing> =>
    Layer.effectContext(
      Effect.gen(function* () {
        const budget = yield* made
        const provider = Gate.through([budget.gate])(yield* LlmProvider.LlmProvider)
        return Context.make(LlmProvider.LlmProvider, provider).pipe(Context.add(Budget, budget))
      })
    ).pipe(Layer.provideMerge(layer))
}

/** See `Service`. */
export const canAfford = (request: LlmRequest.Input) => Effect.flatMap(Budget, (budget) => budget.canAfford(request))

/** See `Service`. */
export const remaining = (of?: Pick<LlmProvider.Service, "provider" | "model">) =>
  Effect.flatMap(Budget, (budget) => budget.remaining(of))

/** See `Service`. */
export const spent = (query?: Omit<Query, "by">) => Effect.flatMap(Budget, (budget) => budget.spent(query))

/** See `Service`. */
export const report = (query?: Partial<Query>) => Effect.flatMap(Budget, (budget) => budget.report(query))

/** See `Service`. */
export const adjust = (adjustment: books.Adjustment) => Effect.flatMap(Budget, (budget) => budget.adjust(adjustment))

/** See `Service`. */
export const forget = (tenant: string) => Effect.flatMap(Budget, (budget) => budget.forget(tenant))

/** See `Service`. */
export const alerts: Stream.Stream<Alert, never, Budget> = Stream.unwrap(Effect.map(Budget, (budget) => budget.alerts))

/** An amount of nano-USD in USD, for people: six digits behind the point, as a call may cost less than a cent. */
export const format = (nanoUsd: number): string => `${(nanoUsd / nanoPerUsd).toFixed(6)} USD`

/** For limits by model, where no provider is given. */
const anyModel = { provider: "any", model: "any" }

const settingsOf = (options: Options): Settings => {
  const { limits, name = "default", onExceeded = "next", onLost = "estimate", strict = false, zone = "UTC" } = options
  const enforces = options.mode !== "shadow"
  return {
    limits: parse(limits, { zone, enforces, name }),
    strict,
    enforces,
    onExceeded,
    onLost: onLost === "drain" ? "estimate" : onLost,
    drainFor: onLost === "drain" ? drainFor : undefined,
    maxWait: waitMillis("Budget: maxWait", options.maxWait ?? "10 seconds"),
    dayAt: calendar.dayOf(zone),
    outage: enforces ? undefined : "allow"
  }
}

/** Milliseconds. */
const drainFor = 30_000

const thresholdsOf = (thresholds: ReadonlyArray<number>): ReadonlyArray<number> => {
  for (const [i, part] of thresholds.entries()) between(`Budget: thresholds[${i}]`, part, Number.MIN_VALUE, 1)
  return [...new Set(thresholds)].sort((a, b) => a - b)
}

const warned = new WeakSet<QuotaStore.Service>()

/** Once for each store. */
const warnOf = (store: QuotaStore.Service): Effect.Effect<void> => {
  if (!(store instanceof MemoryQuotaStore) || warned.has(store)) return Effect.void
  warned.add(store)
  return Effect.logWarning(
    "Budget: what is spent is counted in memory, a restart begins at zero. Give it a store that lasts: Stores.layerSqlite(file) or Stores.layerRedis"
  )
}
