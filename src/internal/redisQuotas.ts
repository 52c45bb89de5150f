/** Quota entries as Redis sees them: the names of their keys, the arguments of the scripts and their answers. */
import { createHash } from "node:crypto"
import * as Duration from "effect/Duration"
import * as Redis from "effect/persistence/Redis"
import type { Denied, Entry, Granted, Quota, State } from "../QuotaStore.ts"
import { observe } from "./lua/observe.ts"
import { read } from "./lua/read.ts"
import { renew } from "./lua/renew.ts"
import { reserve } from "./lua/reserve.ts"
import { settle } from "./lua/settle.ts"
import { checkAmount, checkQuota, nameOf, widthOf } from "./quotas.ts"

const script = (lua: string) =>
  Redis.script((keys: ReadonlyArray<string>, args: ReadonlyArray<string>) => [...keys, ...args], {
    lua,
    numberOfKeys: (keys) => keys.length
  })

/** Bulk strings and integers. */
type Reply = ReadonlyArray<string | number>

export const scripts = {
  reserve: script(reserve).withReturnType<Reply>(),
  settle: script(settle),
  renew: script(renew),
  read: script(read).withReturnType<Reply>(),
  observe: script(observe)
}

/** Names keys. All of one group are in one slot of a cluster, whatever they hold: braces of other parts are encoded. */
export class Keys {
  private readonly before: string

  constructor(prefix: string, group: string) {
    this.before = `${encode(prefix)}:{${encode(group)}}:`
  }

  lease(lease: string): string {
    return `${this.before}lease:${encode(lease)}`
  }

  entry({ key, quota }: Pick<Entry, "key" | "quota">): string {
    return `${this.before}${kinds[quota._tag]}:${nameOf({ key: encode(key), quota })}`
  }
}

const kinds = { Bucket: "B", Rolling: "R", Window: "W", Concurrency: "C" } as const

/** Longer names are hashed; `#` is in no other name. */
const maxLength = 200

/** Percent-encoded by UTF-16 units, so that texts which are no Unicode have a name of their own, too. */
const encode = (text: string): string => {
  const name = text.replace(/[^\w.:~-]/g, (unit) => `%${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
  return name.length <= maxLength ? name : `#${createHash("sha256").update(name).digest("hex")}`
}

/** As `lua/accounts.ts` reads them. Throws a `RangeError` for what cannot be counted. */
export const argsOf = (entries: ReadonlyArray<Pick<Entry, "amount" | "quota">>): Array<string> => {
  const args = [`${entries.length}`]
  for (const { amount, quota } of entries) {
    checkQuota(quota)
    args.push(kinds[quota._tag], `${checkAmount(amount)}`)
    for (const number of numbersOf(quota)) args.push(`${number}`)
  }
  return args
}

const numbersOf = (quota: Quota): readonly [limit: number, own1: number, own2: number] => {
  if (quota._tag === "Bucket") return [quota.capacity, quota.refillPerSecond, 0]
  if (quota._tag === "Rolling") return [quota.limit, widthOf(quota), quota.slots]
  return quota._tag === "Window" ? [quota.limit, quota.startsAt, quota.endsAt] : [quota.limit, 0, 0]
}

/** The answer of `reserve`. */
export const answerOf = (reply: Reply): Granted | Denied => {
  const [granted = 0, entry = 0, retryAfter = -1, now = 0, ...remaining] = reply.map(Number)
  if (granted === 1) return { _tag: "Granted", remaining, now }
  return {
    _tag: "Denied",
    entry,
    ...(retryAfter < 0 ? {} : { retryAfter: Duration.millis(retryAfter) }),
    remaining,
    now
  }
}

/** The answer of `read`. */
export const statesOf = (reply: Reply): ReadonlyArray<State> => {
  const states: Array<State> = []
  for (let i = 0; i < reply.length; i += 2) {
    const resetAfter = Number(reply[i + 1])
    states.push({ remaining: Number(reply[i]), resetAfter: Duration.millis(resetAfter < 0 ? Infinity : resetAfter) })
  }
  return states
}
