/** Quota entries as Redis sees them: the names of their keys, the arguments of the scripts and their answers. */
import { createHash } from "node:crypto"
import * as Duration from "effect/Duration"
import type { Denied, Entry, Granted, Quota, State } from "../QuotaStore.ts"
import { observe } from "./lua/observe.ts"
import { read } from "./lua/read.ts"
import { renew } from "./lua/renew.ts"
import { reserve } from "./lua/reserve.ts"
import { settle } from "./lua/settle.ts"
import { take, takeEach } from "./lua/take.ts"
import { script } from "./redisCommands.ts"
import { checkQuota, nameOf, widthOf } from "./quotas.ts"

/** Names keys. All of one group are in one slot of a cluster, whatever they hold: braces of other parts are encoded. */
export class Keys {
  private readonly before: string

  constructor(prefix: string, group: string) {
    this.before = `${encode(prefix)}:{${encode(group)}}:`
  }

  /** The processes that hold leases. */
  get instances(): string {
    return `${this.before}instances`
  }

  /** What the names of all that belongs to money begin with. */
  get money(): string {
    return `${this.before}money:`
  }

  lease(lease: string): string {
    return `${this.before}lease:${encode(lease)}`
  }

  entry({ key, quota }: Pick<Entry, "key" | "quota">): string {
    return `${this.before}${kinds[quota._tag]}:${nameOf({ key: encode(key), quota })}`
  }

  /** The counter of money that a posting names as `nameOf` does, and its kind. */
  account(name: string): { readonly key: string; readonly kind: "R" | "W" } {
    const end = name.indexOf("/") + 1
    const kind = name.slice(0, end).includes("*") ? "R" : "W"
    return { key: `${this.before}${kind}:${name.slice(0, end)}${encode(name.slice(end))}`, kind }
  }
}

export const kinds = { Bucket: "B", Rolling: "R", Window: "W", Concurrency: "C" } as const

/** Longer names are hashed; `#` is in no other name. */
const maxLength = 200

/** Percent-encoded by UTF-16 units, so that texts which are no Unicode have a name of their own, too. */
const encode = (text: string): string => {
  if (text.length <= maxLength && !unusual.test(text)) return text
  const name = text.replaceAll(everyUnusual, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
  return name.length <= maxLength ? name : `#${createHash("sha256").update(name).digest("hex")}`
}

const unusual = /[^\w.:~-]/
const everyUnusual = /[^\w.:~-]/g

/** As `lua/accounts.ts` reads them, behind what is there. Throws a `RangeError` for what cannot be counted. */
export const pushEntries = (args: Array<string>, entries: ReadonlyArray<Pick<Entry, "amount" | "quota">>): void => {
  args.push(`${entries.length}`)
  for (const { amount, quota } of entries) {
    const { limit, own1, own2 } = textOf(quota)
    args.push(kinds[quota._tag], `${amount}`, limit, own1, own2)
  }
}

interface QuotaText {
  readonly limit: string
  readonly own1: string
  readonly own2: string
}

/** To write a fraction costs more than all else of a command's arguments. */
const texts = new WeakMap<Quota, QuotaText>()

export const textOf = (quota: Quota): QuotaText => {
  const known = texts.get(quota)
  if (known !== undefined) return known
  checkQuota(quota)
  const [limit, own1, own2] = numbersOf(quota)
  const text = { limit: `${limit}`, own1: `${own1}`, own2: `${own2}` }
  texts.set(quota, text)
  return text
}

const numbersOf = (quota: Quota): readonly [limit: number, own1: number, own2: number] => {
  if (quota._tag === "Bucket") return [quota.capacity, quota.refillPerSecond, 0]
  if (quota._tag === "Rolling") return [quota.limit, widthOf(quota), quota.slots]
  return quota._tag === "Window" ? [quota.limit, quota.startsAt, quota.endsAt] : [quota.limit, 0, 0]
}

/** The answer of `reserve` and `take`, all of it integers. */
export const answerOf = (reply: ReadonlyArray<number>): Granted | Denied => {
  const [entry = 0, now = 0] = reply
  if (entry < 0) return { _tag: "Granted", remaining: reply.slice(2), now }
  const retryAfter = reply.at(-1) ?? -1
  return {
    _tag: "Denied",
    entry,
    ...(retryAfter < 0 ? {} : { retryAfter: Duration.millis(retryAfter) }),
    remaining: reply.slice(2, -1),
    now
  }
}

/** The answers of `takeEach`. */
const answersOf = ([now = 0, ...reply]: ReadonlyArray<number>): ReadonlyArray<Granted | Denied> => {
  const answers: Array<Granted | Denied> = []
  for (let i = 0; i < reply.length; i += 2) {
    const [left = 0, millis = 0] = [reply[i], reply[i + 1]]
    const remaining = [left]
    if (millis === 0) answers.push({ _tag: "Granted", remaining, now })
    else if (millis < 0) answers.push({ _tag: "Denied", entry: 0, remaining, now })
    else answers.push({ _tag: "Denied", entry: 0, retryAfter: Duration.millis(millis), remaining, now })
  }
  return answers
}

/** The answer of `read`. */
const statesOf = (reply: ReadonlyArray<number>): ReadonlyArray<State> => {
  const states: Array<State> = []
  for (let i = 0; i < reply.length; i += 2) {
    const [remaining = 0, resetAfter = 0] = [reply[i], reply[i + 1]]
    states.push({ remaining, resetAfter: Duration.millis(resetAfter < 0 ? Infinity : resetAfter) })
  }
  return states
}

const nothing = (): void => {}

export const scripts = {
  reserve: script(reserve, answerOf),
  settle: script(settle, nothing),
  take: script(take, answerOf),
  takeEach: script(takeEach, answersOf),
  renew: script(renew, (instances: number) => instances),
  read: script(read, statesOf),
  observe: script(observe, nothing)
}
