/** Money as the scripts of Redis see it: what a lease needs to be charged, and what it is charged for. */
import type { Charge, Subject } from "../Ledger.ts"
import type { Entry } from "../QuotaStore.ts"
import { page, moved, counted, forgetLines, forgetSums, restore, tidy, time } from "./lua/ledger.ts"
import { post } from "./lua/post.ts"
import { renewMoney } from "./lua/renew.ts"
import { reserveMoney } from "./lua/reserve.ts"
import { settleMoney } from "./lua/settle.ts"
import { nameOf } from "./quotas.ts"
import { script } from "./redisCommands.ts"
import { answerOf, kinds, textOf } from "./redisQuotas.ts"

/** A lease that took money. */
export interface MoneyLease {
  /** What it is for, and the name of each entry's account as JSON; nothing where that is not of money. */
  readonly about: string
  readonly accounts: ReadonlyArray<string>
  /** The same with what was reserved: a process that finds it expired charges that. */
  readonly record: string
  /** Of the counters that granted it. */
  epoch: string
}

/** Nothing where no entry is of money. Throws a `RangeError` where a quota gives money back by itself. */
export const leaseOf = (lease: string, entries: ReadonlyArray<Entry>): MoneyLease | undefined => {
  const subject = entries.find((entry) => entry.subject !== undefined)?.subject
  if (subject === undefined) return undefined
  const about = aboutOf(lease, subject)
  const accounts = entries.map((entry) => (entry.subject === undefined ? "" : accountOf(entry)))
  const taken = entries.map(({ amount, quota }, i) => {
    const account = accounts[i] ?? ""
    if (account === "") return ""
    const { own1, own2 } = textOf(quota)
    return parts([kinds[quota._tag], own1, own2, `${amount}`, account])
  })
  return { about, accounts, record: about + taken.join(""), epoch: "" }
}

/** Throws a `RangeError` for a quota in which money cannot be counted. */
export const accountOf = (entry: Pick<Entry, "key" | "quota">): string => {
  const { quota } = entry
  if (quota._tag === "Window" || quota._tag === "Rolling") return JSON.stringify(nameOf(entry))
  throw new RangeError(`QuotaStore: money must be in a Window or a Rolling quota, got ${quota._tag}`)
}

/** Nine parts. */
export const aboutOf = (id: string, subject: Subject): string => {
  const { call, day, feature, model, prices, provider, run, tenant, user } = subject
  const whose = JSON.stringify({ tenant, user, feature, run })
  return parts([
    JSON.stringify(id),
    JSON.stringify({ call, provider, model, day, prices }),
    whose === "{}" ? "" : whose,
    ...[day, provider, model, tenant, user, feature].map((text) => (text === undefined ? "" : JSON.stringify(text)))
  ])
}

/** Six arguments: the outcome, its JSON, the note, what was saved, tokens in and out. */
export const chargeArgs = (charge: Charge | undefined): ReadonlyArray<string> => {
  if (charge === undefined) return ["", "{}", "", "0", "0", "0"]
  const { note, outcome, saved, tokens } = charge
  const { input, output } = tokens ?? { input: 0, output: 0 }
  return [
    outcome,
    JSON.stringify({ tokens: tokens && { input, output }, saved }),
    note === undefined ? "" : JSON.stringify(note),
    ...[saved ?? 0, input, output].map((count) => (Number.isSafeInteger(count) ? `${count}` : "0"))
  ]
}

const parts = (texts: ReadonlyArray<string>): string => texts.map((text) => `${text}\n`).join("")

type Texts = ReadonlyArray<string>
type CountedReply = readonly [string, counters: Texts, records: Texts, open: number, later: Texts, behind: number]

const nothing = (): void => {}

export const moneyScripts = {
  reserve: script(reserveMoney, answerOf),
  /** False where the counters have yet to be given back. */
  settle: script(settleMoney, (reply: number) => reply !== 2),
  renew: script(renewMoney, (instances: number) => instances),
  post: script(post, nothing),
  tidy: script(tidy, (reply: number) => reply === 1),
  page: script(page, (reply: ReadonlyArray<string>) => reply),
  moved: script(moved, nothing),
  forgetLines: script(forgetLines, nothing),
  forgetSums: script(forgetSums, (cursor: string) => cursor),
  counted: script(counted, ([first, counters, records, open, later, behind]: CountedReply) => {
    return { first: Number(first), counters: counters.map(Number), records, open, later, behind }
  }),
  restore: script(restore, (reply: number) => reply === 1),
  time: script(time, (now: number) => now)
}
