/** Limits of a budget: what each of them counts, over which time, and under which name in the store. */
import * as Duration from "effect/Duration"
import type * as Caller from "../Caller.ts"
import { nanoPerUsd } from "../Ledger.ts"
import type { Quota } from "../QuotaStore.ts"
import * as calendar from "./calendar.ts"
import { valueOf } from "./limits.ts"
import { between, positiveMillis } from "./options.ts"

/** What a call is priced by. */
export interface Priced {
  readonly provider: string
  readonly model: string
}

/** Over which time a limit counts; `Limit.window` says what each means. */
export type Window = calendar.Period | "run" | { readonly rolling: Duration.Input }

/** Who shares a limit; `Limit.by` says what each means. */
export type By =
  | "all"
  | "tenant"
  | "user"
  | "feature"
  | "run"
  | "model"
  | ((caller: Caller.Identity, call: Priced) => string | undefined)

/** So much money in so much time. No two limits of a budget may have the same name over the same time. */
export interface Limit {
  /** Most that is spent in a window: from a billionth to 9,007,199. */
  readonly usd: number
  /**
   * `"hour"`, `"day"`, `"week"` (from Monday) and `"month"` are those of the time zone. `{ rolling }` is any time of
   * that length, from 60 milliseconds to 366 days, counted in 60 parts, the oldest of them whole. `"run"` is one
   * `Caller.run`, which is counted for a day, each call without one by itself. Default `"day"`.
   */
  readonly window?: Window | undefined
  /**
   * Who shares the limit: all, or each tenant, user, feature, run or model on its own. Callers without the field share one.
   * A function names those who share; `undefined` from it is not limited. Default `"run"` for the window `"run"`,
   * which takes no other, else `"all"`.
   */
  readonly by?: By | undefined
  /** For errors, alerts and keys: what is counted stays under its name. Default: what `by` is. Needed where that is a function. */
  readonly name?: string | undefined
}

/** One limit, ready to be counted. */
export interface Counted {
  readonly name: string
  readonly window: "hour" | "day" | "week" | "month" | "rolling" | "run"
  /** Nano-USD. */
  readonly limit: number
  /** The quota that counts at an instant: the same object as long as it is the same one. */
  readonly quotaAt: (at: number) => Quota
  /** Who is counted together; `undefined` where nobody is. */
  readonly of: (caller: Caller.Identity, call: Priced) => string | undefined
  /** Before the name of who is counted, in the store. */
  readonly key: string
  /** Counts each call that has no run by itself. */
  readonly perCall: boolean
}

export interface Settings {
  readonly zone: string
  readonly enforces: boolean
  /** What all keys begin with. */
  readonly name: string
}

/** Throws a `RangeError` for a limit that can never work, for two under one name, and where there is none. */
export const parse = (limits: ReadonlyArray<Limit>, settings: Settings): ReadonlyArray<Counted> => {
  if (limits.length === 0)
    throw new RangeError('Budget: limits needs at least one, for example { usd: 10, window: "day" }')
  const counted = limits.map((limit, i) => one(`Budget: limits[${i}].`, limit, settings))
  const keys = counted.map(({ key }) => key)
  const twice = counted.find(({ key }, i) => keys.indexOf(key) !== i)
  if (twice === undefined) return counted
  throw new RangeError(
    `Budget: two limits are called "${twice.name}" per ${twice.window}: give one of them another name`
  )
}

const one = (field: string, limit: Limit, { enforces, name: budget, zone }: Settings): Counted => {
  const { window = "day" } = limit
  const by = limit.by ?? (window === "run" ? "run" : "all")
  const name = limit.name ?? (typeof by === "string" ? by : undefined)
  if (name === undefined) throw new RangeError(`${field}name is needed where by is a function`)
  if (window === "run" && by !== "run") throw new RangeError(`${field}by must be "run" where window is "run"`)
  const nano = nanoOf(`${field}usd`, limit.usd)
  const { kind, quotaAt, span } = quotaOf(field, window, enforces ? nano : Number.MAX_SAFE_INTEGER, zone)
  return {
    name,
    window: kind,
    limit: nano,
    quotaAt,
    of: ownerOf(name, by),
    key: `budget:${budget}|${span}|${name}|`,
    perCall: window === "run"
  }
}

/** Whole nano-USD of an amount above zero. */
const nanoOf = (field: string, usd: number): number => {
  const nano = Math.round(between(field, usd, 1 / nanoPerUsd, mostUsd) * nanoPerUsd)
  return Math.min(nano, Number.MAX_SAFE_INTEGER)
}

const mostUsd = Math.floor(Number.MAX_SAFE_INTEGER / nanoPerUsd)

const ownerOf = (name: string, by: By): Counted["of"] => {
  if (by === "all") return () => name
  if (by === "model") return (_caller, { model, provider }) => `${name}=${provider}/${model}`
  if (typeof by === "function") {
    return (caller, call) => {
      const owner = by(caller, call)
      return owner === undefined ? undefined : `${name}=${owner}`
    }
  }
  return valueOf(name, by)
}

/** How long a run is counted, and in how many parts. */
const runSpan = Duration.days(1)
const runSlots = 24
const slots = 60
const longest = Duration.toMillis("366 days")

interface Counting extends Pick<Counted, "quotaAt"> {
  readonly kind: Counted["window"]
  readonly span: string
}

const quotaOf = (field: string, window: Window, limit: number, zone: string): Counting => {
  if (window === "run") {
    const quota: Quota = { _tag: "Rolling", limit, span: runSpan, slots: runSlots }
    return { kind: "run", span: "run", quotaAt: () => quota }
  }
  if (typeof window === "object") {
    const millis = positiveMillis(`${field}window.rolling`, window.rolling)
    const span = Duration.millis(between(`${field}window.rolling in milliseconds`, millis, slots, longest))
    const quota: Quota = { _tag: "Rolling", limit, span, slots }
    return { kind: "rolling", span: Duration.format(span), quotaAt: () => quota }
  }
  const windowAt = calendar.make(window, zone)
  let last: (Quota & { readonly _tag: "Window" }) | undefined
  const quotaAt = (at: number): Quota => {
    if (last !== undefined && at >= last.startsAt && at < last.endsAt) return last
    last = { _tag: "Window", limit, ...windowAt(at) }
    return last
  }
  return { kind: window, span: window, quotaAt }
}
