/**
 * What is taken of one quota: the arithmetic of all four kinds over plain data, without a clock of its own.
 *
 * `taken` is an integer and so never drifts; a bucket keeps beside it the part of a unit that it was refilled beyond whole
 * ones. An account with nothing taken is the same as none.
 */
import * as Duration from "effect/Duration"
import type { Entry, Quota } from "../QuotaStore.ts"
import { between, integer } from "./options.ts"

export interface Account {
  quota: Quota
  /** Above the limit where there is a debt. */
  taken: number
  /** Of a bucket: until when it was refilled, and what of the next unit it already has. */
  at: number
  part: number
  /** Of a rolling quota: what was taken when, oldest first. */
  readonly slots: Array<Slot>
}

interface Slot {
  index: number
  taken: number
}

type Rolling = Extract<Quota, { readonly _tag: "Rolling" }>

/** Shared by those that have no slots. */
const none: Array<Slot> = []

export const open = (quota: Quota, now: number): Account => ({
  quota,
  taken: 0,
  at: now,
  part: 0,
  slots: quota._tag === "Rolling" ? [] : none
})

/** What tells the accounts of one kind apart: windows and sub-windows of other lengths never share one. */
export const nameOf = ({ key, quota }: Pick<Entry, "key" | "quota">): string => {
  if (quota._tag === "Rolling") return `${widthOf(quota)}*${quota.slots}/${key}`
  return quota._tag === "Window" ? `${quota.startsAt}-${quota.endsAt}/${key}` : key
}

/** Lets time pass until now. A clock that was put back refills nothing, and keeps nobody waiting for longer than before. */
export const age = (account: Account, now: number): void => {
  const { quota } = account
  if (quota._tag === "Bucket") refill(account, quota.refillPerSecond, now)
  else if (quota._tag === "Rolling") slide(account, quota, now)
  else if (quota._tag === "Window" && now >= quota.endsAt) account.taken = 0
}

/** Parts of a unit by which sums of fractions may miss a whole one. */
const tolerance = 1e-6

const refill = (account: Account, perSecond: number, now: number): void => {
  const units = account.part + (Math.max(0, now - account.at) * perSecond) / 1000
  const whole = Math.floor(units + tolerance)
  account.at = now
  account.part = units - whole
  account.taken -= whole
  if (account.taken > 0) return
  account.taken = 0
  account.part = 0
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

/** Takes, or gives back where the amount is negative, what was admitted at an instant; the account is aged until now. */
export const book = (account: Account, amount: number, admittedAt: number, now: number): void => {
  if (account.quota._tag === "Rolling") bookSlot(account, slotAt(account.quota, Math.min(admittedAt, now)), amount)
  else account.taken = Math.max(0, account.taken + amount)
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

/** More is taken than the quota holds, or it is a window that is not now. */
export const isOver = (account: Account, now: number): boolean => {
  const { quota } = account
  return remaining(account) < 0 || (quota._tag === "Window" && (now < quota.startsAt || now >= quota.endsAt))
}

/**
 * Milliseconds until what was booked fits, `own` of it by who asks; `undefined` where time alone will not help. Waiting for
 * exactly that long is enough.
 */
export const wait = (account: Account, own: number, now: number): number | undefined => {
  const { quota } = account
  if (own > limitOf(quota)) return undefined
  if (quota._tag !== "Window") return until(account, -remaining(account), now)
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

/** What a settle says was used of an entry; where it says nothing that can be counted, what was reserved. */
export const usedOf = (actual: number | undefined, reserved: number): number =>
  actual !== undefined && Number.isSafeInteger(actual) && actual >= 0 ? actual : reserved
