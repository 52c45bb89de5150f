/** What a limiter counts and up to where: its options as quotas with a name each. */
import * as Duration from "effect/Duration"
import type * as Caller from "../Caller.ts"
import type { Entry, Quota } from "../QuotaStore.ts"
import { between, integer, positiveMillis } from "./options.ts"

/** What is counted: calls, or tokens of the input, of the output, or of both. */
export type Count = "requests" | "tokens" | "inputTokens" | "outputTokens"

/** So many in so much time. */
export interface Limit {
  /** What is counted. */
  readonly count: Count
  /** Most of them, an integer of at least 1. */
  readonly limit: number
  /** In which time: from a millisecond to 365 days. */
  readonly per: Duration.Input
  /** What may go at once, as the time in which it comes back. Default: all of `per`, at least one. Not with `"rolling"`. */
  readonly burst?: Duration.Input | undefined
  /**
   * `"bucket"` refills continuously: in any time T at most the burst and what comes back in T, so up to twice the limit in
   * the first period. `"rolling"` never admits more than the limit in any period, counted in 60 parts of it (24 of a day),
   * the oldest of them whole. Default: a bucket up to an hour, rolling above.
   */
  readonly algorithm?: Algorithm | undefined
}

/** How a limit comes back; `Limit.algorithm` says what each admits. */
export type Algorithm = "bucket" | "rolling"

/** Limits of attempts, all of which hold. Each is an integer of at least 1, and there is none by default. */
export interface Limits {
  /** Attempts in a minute. */
  readonly requestsPerMinute?: number | undefined
  /** Attempts in a day: any 24 hours, not one of the calendar. */
  readonly requestsPerDay?: number | undefined
  /** Tokens of input and output in a minute. */
  readonly tokensPerMinute?: number | undefined
  /** Tokens of input and output in a day. */
  readonly tokensPerDay?: number | undefined
  /** Tokens of input in a minute. */
  readonly inputTokensPerMinute?: number | undefined
  /** Tokens of input in a day. */
  readonly inputTokensPerDay?: number | undefined
  /** Tokens of output, reasoning included, in a minute. */
  readonly outputTokensPerMinute?: number | undefined
  /** Tokens of output, reasoning included, in a day. */
  readonly outputTokensPerDay?: number | undefined
  /** Calls that run at the same time. */
  readonly concurrency?: number | undefined
  /** Limits over other times. */
  readonly limits?: ReadonlyArray<Limit> | undefined
  /** Of `requestsPerMinute`: `"1 second"` lets calls go one by one. See `Limit`. */
  readonly burst?: Duration.Input | undefined
  /** Of the limits per minute and per day: see `Limit`. */
  readonly algorithm?: Algorithm | undefined
}

/** Limits for each tenant, user, ... of their own, whichever provider they call. */
export interface Scope extends Limits {
  /**
   * Who is counted together. Callers without the field share one limit. A function names them itself; `undefined` from it is
   * not limited.
   */
  readonly by: "tenant" | "user" | "feature" | "run" | ((caller: Caller.Identity) => string | undefined)
  /** For errors and keys; needed where `by` is a function. */
  readonly name?: string | undefined
}

/** One limit, ready to be counted under many keys. */
export interface Counted {
  readonly count: Count | "concurrency"
  /** As errors name it. */
  readonly name: string
  readonly quota: Quota
  /** As it was given, and the most that can ever be taken at once. */
  readonly limit: number
  readonly most: number
  readonly outage: Entry["outage"]
}

export interface CountedScope {
  readonly limits: ReadonlyArray<Counted>
  /** Who of all is counted; `undefined` where nobody is. */
  readonly of: (caller: Caller.Identity) => string | undefined
}

const shorthands = [
  ["requestsPerMinute", "requests", "1 minute"],
  ["requestsPerDay", "requests", "1 day"],
  ["tokensPerMinute", "tokens", "1 minute"],
  ["tokensPerDay", "tokens", "1 day"],
  ["inputTokensPerMinute", "inputTokens", "1 minute"],
  ["inputTokensPerDay", "inputTokens", "1 day"],
  ["outputTokensPerMinute", "outputTokens", "1 minute"],
  ["outputTokensPerDay", "outputTokens", "1 day"]
] as const

/** Throws a `RangeError` for a limit that can never work, and where there is none. */
export const parse = (field: string, limits: Limits, outage: Entry["outage"], prefix = ""): ReadonlyArray<Counted> => {
  const counted: Array<Counted> = []
  const add = (count: Counted["count"], name: string, limit: number, quota: Quota) =>
    counted.push({ count, name: prefix + name, limit, quota, most: mostOf(quota), outage })
  for (const [name, count, per] of shorthands) {
    const limit = limits[name]
    if (limit === undefined) continue
    const { algorithm, burst } = limits
    const quota = quotaOf(`${field}${name}`, {
      count,
      limit,
      per,
      algorithm,
      ...(name === "requestsPerMinute" ? { burst } : {})
    })
    add(count, name, limit, quota)
  }
  for (const [i, limit] of (limits.limits ?? []).entries()) {
    const quota = quotaOf(`${field}limits[${i}].limit`, limit, `${field}limits[${i}].`)
    add(limit.count, `${limit.count} per ${Duration.format(Duration.fromInputUnsafe(limit.per))}`, limit.limit, quota)
  }
  if (limits.concurrency !== undefined) {
    const limit = integer(`${field}concurrency`, limits.concurrency, 1)
    add("concurrency", "concurrency", limit, { _tag: "Concurrency", limit })
  }
  if (counted.length > 0) return counted
  throw new RangeError(`${field.trimEnd().replace(/\.$/, "")} needs at least one limit, for example requestsPerMinute`)
}

/** Whether there is a limit among them. */
export const has = (limits: Limits): boolean =>
  limits.concurrency !== undefined ||
  limits.limits !== undefined ||
  shorthands.some(([name]) => limits[name] !== undefined)

const longest = Duration.toMillis("365 days")
const hour = Duration.toMillis("1 hour")

const quotaOf = (name: string, limit: Limit, field = name.replace(/\w+$/, "")): Quota => {
  const most = integer(name, limit.limit, 1)
  const per = between(`${field}per in milliseconds`, positiveMillis(`${field}per`, limit.per), 1, longest)
  const algorithm = limit.algorithm ?? (per <= hour ? "bucket" : "rolling")
  if (algorithm === "rolling") {
    return { _tag: "Rolling", limit: most, span: Duration.millis(per), slots: per === longestDay ? 24 : 60 }
  }
  const burst = limit.burst === undefined ? per : positiveMillis(`${field}burst`, limit.burst)
  const capacity = Math.max(1, Math.floor(most * Math.min(1, burst / per)))
  return { _tag: "Bucket", capacity, refillPerSecond: (most * 1000) / per }
}

const longestDay = Duration.toMillis("1 day")

const mostOf = (quota: Quota): number => (quota._tag === "Bucket" ? quota.capacity : quota.limit)

export const parseScope = (field: string, scope: Scope, outage: Entry["outage"]): CountedScope => {
  const { by } = scope
  const name = scope.name ?? (typeof by === "string" ? by : undefined)
  if (name === undefined) throw new RangeError(`${field}name is needed where by is a function`)
  return { limits: parse(field, scope, outage, `${name}.`), of: valueOf(name, by) }
}

/** Names that differ wherever the callers do; nobody differs from every name. */
export const valueOf = (name: string, by: Scope["by"]): CountedScope["of"] => {
  if (typeof by === "function") {
    return (caller) => {
      const value = by(caller)
      return value === undefined ? undefined : `${name}=${value}`
    }
  }
  if (by === "tenant") return ({ tenant }) => (tenant === undefined ? name : `${name}=${tenant}`)
  return (caller) => {
    const tenant = caller.tenant === undefined ? "" : `${caller.tenant.length}:${caller.tenant}`
    const value = caller[by]
    return value === undefined ? `${name}:${tenant}` : `${name}=${tenant}:${value}`
  }
}

/** Amounts of one call, by what is counted. */
export interface Cost {
  readonly requests: number
  readonly inputTokens: number
  readonly outputTokens: number
}

export const amountOf = (cost: Cost, count: Counted["count"]): number => {
  switch (count) {
    case "requests":
      return cost.requests
    case "tokens":
      return cost.inputTokens + cost.outputTokens
    case "inputTokens":
      return cost.inputTokens
    case "outputTokens":
      return cost.outputTokens
    default:
      return 1
  }
}

/** A limit under one key, and the line in which those wait whom it denies. */
export interface Slot {
  readonly limit: Counted
  readonly key: string
  readonly line: number
  /** The entry of a call that costs one. */
  readonly one: Entry
}

/** No limit's name has a bar in it that its owner could end in: the last one parts them. */
export const keyOf = (owner: string, limit: Counted): string => `${owner}|${limit.name}`

export const slotsOf = (limits: ReadonlyArray<Counted>, owner: string, line: number): ReadonlyArray<Slot> =>
  limits.map((limit) => {
    const key = keyOf(owner, limit)
    return { limit, key, line, one: { key, amount: 1, quota: limit.quota, outage: limit.outage } }
  })

export const entryOf = (slot: Slot, amount: number): Entry =>
  amount === 1 ? slot.one : { key: slot.key, amount, quota: slot.limit.quota, outage: slot.limit.outage }
