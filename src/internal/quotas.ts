/**
 * What is taken of one quota: the arithmetic of all four kinds over plain data, without a clock of its own.
 *
 * `taken` is an integer and so never drifts; a bucket keeps beside it the part of a unit that it was refilled beyond whole
 * ones. An account with nothing taken is the same as none.
 */
import * as Duration from "effect/Duration"
import type { Entry, Quota } from "../QuotaStore.ts"
import { type Account, restart } from "./account.ts"
import { between, integer } from "./options.ts"

type Bucket = Extract<Quota, { readonly _tag: "Bucket" }>
type Rolling = Extract<Quota, { readonly _tag: "Rolling" }>
type Window = Extract<Quota, { readonly _tag: "Window" }>

/** What tells the accounts of one kind apart: windows and sub-windows of other lengths never share one. */
export const nameOf = ({ key, quota }: Pick<Entry, "key" | "quota">): string => {
  if (quota._tag === "Rolling") return `${widthOf(quota)}*${quota.slots}/${key}`
  return quota._tag === "Window" ? periodOf(quota) + key : key
}

/** The windows named last, by their ends: to write two instants costs more than all else. */
const periods = new Map<number, { readonly startsAt: number; readonly name: string }>()
const maxPeriods = 100

const periodOf = ({ endsAt, startsAt }: Window): string => {
  const known = periods.get(endsAt)
  if (known?.startsAt === startsAt) return known.name
  const name = `${startsAt}-${endsAt}/`
  if (periods.size >= maxPeriods) periods.clear()
  periods.set(endsAt, { startsAt, name })
  return name
}

/** Lets time pass until now. A clock that was put back refills nothing, and keeps nobody waiting for longer than before. */
export const age = (account: Account, now: number): void => {
  const { quota } = account
  if (quota._tag === "Bucket") refill(account, quota, now)
  else if (quota._tag === "Rolling") slide(account, quota, now)
  else if (quota._tag === "Window" && now >= quota.endsAt) account.taken = 0
}

/** Nothing is taken: it is as good as none. A bucket that time alone has filled is given another second. */
export const isIdle = (account: Account, now: number): boolean => {
  const { at, quota, taken } = account
  if (quota._tag !== "Bucket") age(account, now)
  else if (taken > 0) return now - at >= minIdle && taken * 1000 <= (now - at) * quota.refillPerSecond
  return account.taken === 0
}

const minIdle = 1000

/** From now on it is counted by this quota; the account is aged until now. */
export const change = (account: Account, quota: Quota, now: number): void => {
  checkQuota(quota)
  const old = account.quota
  account.quota = quota
  if (quota._tag !== "Bucket" || old._tag !== "Bucket" || quota.refillPerSecond === old.refillPerSecond) return
  restart(account, now, account.taken - account.part)
}

const refill = (account: Account, quota: Bucket, now: number): void => {
  const { at } = account
  if (now === at) return
  account.at = now
  if (now < at) return restart(account, at + 1, 0)
  lower(account, ((now - at) * quota.refillPerSecond) / 1000, now)
  const level = account.taken - account.part
  account.low = Math.min(account.low, level)
  if ((now - account.since) * quota.refillPerSecond < 500 * quota.capacity) return
  account.before = account.since
  account.lowBefore = account.low
  account.since = now
  account.low = level
}

/** Parts of a unit by which sums of fractions may miss a whole one. */
const tolerance = 1e-6

const lower = (account: Account, by: number, now: number): void => {
  const units = account.part + by
  const whole = Math.floor(units + tolerance)
  account.part = units - whole
  account.taken -= whole
  if (account.taken > 0) return
  account.taken = 0
  account.part = 0
  restart(account, now, 0)
}

/**
 * Gives back to a bucket what was reserved and not used, as if it had never been taken: all that was taken since falls by as
 * much, and nowhere below zero, or the bucket would admit the same refill twice. So it is at most the least that was taken
 * since the admission. That is not known, but a bound below it: the lows of two epochs, each at least half as long as the
 * bucket takes to fill, and on top of them what of the reservation itself has not been refilled.
 */
const giveBack = (account: Account, { amount, used, at }: Settled, refillPerSecond: number, now: number): void => {
  const { before, low, lowBefore, since } = account
  if (at < before) return
  const own = Math.max(0, amount - (Math.max(0, now - at) * refillPerSecond) / 1000)
  const least = at < since ? Math.min(low, lowBefore) : low
  // whoever was admitted as an epoch began is counted in its low
  const bound = at === since || at === before ? Math.max(least, own) : least + own
  const refund = Math.min(amount - used, bound)
  const lowOf = (low: number, start: number) =>
    at > start ? Math.min(low, bound - refund) : Math.max(low, bound) - refund
  account.low = lowOf(low, since)
  if (at < since) account.lowBefore = lowOf(lowBefore, before)
  lower(account, refund, now)
}

/** One entry of a reservation that ended, and when it was admitted. */
export interface Settled {
  readonly amount: number
  readonly used: number
  readonly at: number
}

/** Of whole milliseconds, so that the slots together are never shorter than the span. */
export const widthOf = (quota: Rolling): number => Math.ceil(Duration.toMillis(quota.span) / quota.slots)

const slotAt = (quota: Rolling, at: number): number => Math.floor(at / widthOf(quota))

/** The slot that began before the span did still counts, whole: `slots + 1` of them. */
const slide = (account: Account, quota: Rolling, now: number): void => {
  const { slots } = account
  const current = slotAt(quota, now)
  for (let i = slots.length - 1; i >= 0; i--) {
    const slot = slots[i]
    if (slot === undefined || slot.index <= current) break
    slot.index = current
  }
  let gone = 0
  for (const slot of slots) {
    if (slot.index >= current - quota.slots) break
    account.taken -= slot.taken
    gone++
  }
  if (gone > 0) slots.splice(0, gone)
}

/** Takes what was admitted now; the account is aged until now. */
export const take = (account: Account, amount: number, now: number): void => {
  if (account.quota._tag === "Rolling") return bookSlot(account, slotAt(account.quota, now), amount)
  account.taken += amount
  // it counts as taken before the epoch that begins now: who is admitted now has it below his own
  if (now === account.since) account.low += amount
}

/** Takes of a bucket that is aged until now, and says what is left; takes nothing where that would be negative. */
export const takeIfLeft = (account: Account, amount: number, now: number): number => {
  const left = remaining(account) - amount
  if (left >= 0) take(account, amount, now)
  return left
}

/** The same from any bucket, one unit. One that was filled meanwhile, as most are, is as good as new. */
export const takeUnit = (account: Account, now: number): boolean => {
  const { at, quota, taken } = account
  if (quota._tag === "Bucket" && now > at && (now - at) * quota.refillPerSecond >= 1000 * taken) {
    if (quota.capacity < 1) return false
    account.begin(now, 1)
    return true
  }
  age(account, now)
  return takeIfLeft(account, 1, now) >= 0
}

/** Takes more of what was admitted, or gives back; the account is aged until now. */
export const correct = (account: Account, settled: Settled, now: number): void => {
  const { quota } = account
  const more = settled.used - settled.amount
  if (quota._tag === "Rolling") bookSlot(account, slotAt(quota, Math.min(settled.at, now)), more)
  else if (more > 0) take(account, more, now)
  else if (quota._tag === "Bucket") giveBack(account, settled, quota.refillPerSecond, now)
  else account.taken = Math.max(0, account.taken + more)
}

/** Books what nothing was reserved for, of a window or a rolling quota that is aged until now; says by how much it changed. */
export const book = (account: Account, amount: number, now: number): number => {
  const before = account.taken
  if (account.quota._tag === "Rolling") bookSlot(account, slotAt(account.quota, now), amount)
  else account.taken = Math.max(0, before + amount)
  return account.taken - before
}

/** A slot that no longer counts goes again when the account is aged next. */
const bookSlot = (account: Account, index: number, amount: number): void => {
  const { slots } = account
  let i = slots.length
  while ((slots[i - 1]?.index ?? -Infinity) > index) i--
  let slot = slots[i - 1]
  if (slot?.index !== index) {
    slot = { index, taken: 0 }
    slots.splice(i, 0, slot)
  }
  const change = Math.max(amount, -slot.taken)
  slot.taken += change
  account.taken += change
}

const limitOf = (quota: Quota): number => (quota._tag === "Bucket" ? quota.capacity : quota.limit)

/** Negative where there is a debt. */
export const remaining = (account: Account): number => limitOf(account.quota) - account.taken

/** More is taken and asked for than the quota holds, or it is a window that is not now. */
export const isOver = (account: Account, now: number): boolean => {
  const { asked, quota, taken } = account
  if (taken + asked > limitOf(quota)) return true
  return quota._tag === "Window" && (now < quota.startsAt || now >= quota.endsAt)
}

/**
 * Milliseconds until what is asked for fits; `undefined` where time alone will not help. Waiting for exactly that long is
 * enough.
 */
export const wait = (account: Account, now: number): number | undefined => {
  const { asked, quota, taken } = account
  const limit = limitOf(quota)
  if (asked > limit) return undefined
  if (quota._tag !== "Window") return until(account, taken + asked - limit, now)
  if (now >= quota.endsAt) return undefined
  return now < quota.startsAt ? quota.startsAt - now : quota.endsAt - now
}

/** Milliseconds until the quota is whole again, as far as time alone decides. */
export const resetAfter = (account: Account, now: number): number => {
  const { quota, taken } = account
  if (taken === 0 || quota._tag === "Concurrency") return 0
  return quota._tag === "Window" ? quota.endsAt - now : (until(account, taken, now) ?? Infinity)
}

/** Milliseconds until time has given back so many units. */
const until = (account: Account, units: number, now: number): number | undefined => {
  const { part, quota, slots } = account
  if (quota._tag === "Bucket") {
    if (quota.refillPerSecond === 0) return undefined
    return Math.ceil(((units - part - tolerance / 2) * 1000) / quota.refillPerSecond)
  }
  if (quota._tag !== "Rolling") return undefined
  let left = units
  for (const slot of slots) {
    left -= slot.taken
    if (left <= 0) return (slot.index + quota.slots + 1) * widthOf(quota) - now
  }
  return undefined
}

/** Throws a `RangeError` for a quota that cannot be counted. */
export const checkQuota = (quota: Quota): void => {
  switch (quota._tag) {
    case "Bucket":
      integer("QuotaStore: capacity", quota.capacity, 0)
      between("QuotaStore: refillPerSecond", quota.refillPerSecond, 0, Number.MAX_SAFE_INTEGER)
      return
    case "Rolling":
      integer("QuotaStore: limit", quota.limit, 0)
      integer("QuotaStore: slots", quota.slots, 1)
      between("QuotaStore: span in milliseconds", Duration.toMillis(quota.span), 1, Number.MAX_SAFE_INTEGER)
      return
    case "Window":
      integer("QuotaStore: limit", quota.limit, 0)
      if (!(quota.startsAt < quota.endsAt)) throw new RangeError("QuotaStore: startsAt must be before endsAt")
      return
    case "Concurrency":
      integer("QuotaStore: limit", quota.limit, 0)
  }
}

/** Throws a `RangeError` for an amount that cannot be reserved. */
export const checkAmount = (amount: number): number => integer("QuotaStore: amount", amount, 0)

/** Throws a `RangeError` for an amount that cannot be left. */
export const checkLeft = (amount: number): number => integer("QuotaStore: amount", amount, Number.MIN_SAFE_INTEGER)

/** What a settle says was used of an entry; where it says nothing that can be counted, what was reserved. */
export const usedOf = (actual: number | undefined, reserved: number): number =>
  actual !== undefined && Number.isSafeInteger(actual) && actual >= 0 ? actual : reserved
