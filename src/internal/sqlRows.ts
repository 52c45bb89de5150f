/** What the rows of a SQL store hold: counters, leases and lines as plain texts and integers, and what they are read back to. */
import { createHash } from "node:crypto"
import * as Duration from "effect/Duration"
import type { Line, Outcome, Posting } from "../Ledger.ts"
import type { Entry, Quota } from "../QuotaStore.ts"
import { Account } from "./account.ts"
import { age, change, nameOf } from "./quotas.ts"
import { Rows } from "./rows.ts"

/** Any text as one that every database takes: `NUL` and halves of pairs are escaped, and so is what escapes them. */
export const escape = (text: string): string =>
  text.replace(
    /[\\\0]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
    (unit) => `\\${unit.charCodeAt(0).toString(16).padStart(4, "0")}`
  )

export const unescape = (text: string): string =>
  text.replace(/\\([0-9a-f]{4})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))

const maxId = 200

/** A name that an index takes, with the kind in front: long ones end in their digest. */
export const idOf = (kind: string, name: string): string => {
  const text = `${kind}:${escape(name)}`
  if (text.length <= maxId) return text
  const digest = createHash("sha256").update(text).digest("base64url")
  return `${text.slice(0, maxId - 60).replace(/[\ud800-\udbff]$/, "")}~${digest}`
}

export const accountIdOf = (entry: Pick<Entry, "key" | "quota">): string =>
  idOf(entry.quota._tag[0] ?? "", nameOf(entry))

/** A counter: what is taken, and what else must be known to let time pass. */
export interface AccountRow {
  readonly id: string
  readonly taken: number
  /** Empty for one that was opened and never used. */
  readonly state: string
  /** From when on it is as good as none; `null` where time alone does not do that. */
  readonly idle_at: number | null
}

type QuotaJson = readonly [tag: string, ...numbers: ReadonlyArray<number | string>]

/** JSON has no infinity. */
const finite = (value: number): number | string => (Number.isFinite(value) ? value : String(value))

const quotaJson = (quota: Quota): QuotaJson => {
  switch (quota._tag) {
    case "Bucket":
      return ["B", quota.capacity, quota.refillPerSecond]
    case "Rolling":
      return ["R", quota.limit, Duration.toMillis(quota.span), quota.slots]
    case "Window":
      return ["W", quota.limit, finite(quota.startsAt), finite(quota.endsAt)]
    default:
      return ["C", quota.limit]
  }
}

const quotaOf = ([tag, ...numbers]: QuotaJson): Quota => {
  const [a = 0, b = 0, c = 0] = numbers.map(Number)
  if (tag === "B") return { _tag: "Bucket", capacity: a, refillPerSecond: b }
  if (tag === "R") return { _tag: "Rolling", limit: a, span: Duration.millis(b), slots: c }
  return tag === "W" ? { _tag: "Window", limit: a, startsAt: b, endsAt: c } : { _tag: "Concurrency", limit: a }
}

interface State {
  readonly quota: QuotaJson
  readonly numbers: readonly [at: number, part: number, since: number, low: number, before: number, lowBefore: number]
  readonly slots: ReadonlyArray<readonly [index: number, taken: number]>
}

/** The account as it is now, under the quota of the entry. */
export const accountOf = (entry: Pick<Entry, "key" | "quota">, row: AccountRow | undefined, now: number): Account => {
  const account = new Account(nameOf(entry), entry.quota, now, new Rows(1))
  if (row === undefined || row.state === "") return account
  const { numbers, quota, slots } = JSON.parse(row.state) as State // as written below
  account.quota = quotaOf(quota)
  account.taken = row.taken
  ;[account.at, account.part, account.since, account.low, account.before, account.lowBefore] = numbers
  for (const [index, taken] of slots) account.slots.push({ index, taken })
  age(account, now)
  change(account, entry.quota, now)
  return account
}

export const rowOf = (id: string, account: Account, now: number): AccountRow => {
  const { at, before, low, lowBefore, part, quota, since, slots, taken } = account
  const state: State = {
    quota: quotaJson(quota),
    numbers: [at, part, since, low, before, lowBefore],
    slots: slots.map(({ index, taken }) => [index, taken])
  }
  return { id, taken, state: JSON.stringify(state), idle_at: idleAt(account, now) }
}

/** Whole hours, so that an index of it seldom changes. */
const hour = 3_600_000

const idleAt = ({ quota, slots, taken }: Account, now: number): number | null => {
  const hours = (at: number) => instant((Math.floor(at / hour) + 1) * hour)
  if (taken === 0 && quota._tag !== "Bucket") return hours(now)
  switch (quota._tag) {
    case "Bucket":
      return taken > 0 && quota.refillPerSecond === 0
        ? null
        : hours(now + (taken * 1000) / (quota.refillPerSecond || 1))
    case "Rolling":
      return hours(endOf(quota, slots.at(-1)?.index ?? 0))
    case "Window":
      return hours(quota.endsAt)
    default:
      return null
  }
}

/** When a sub-window no longer counts. */
const endOf = (quota: Extract<Quota, { readonly _tag: "Rolling" }>, slot: number): number =>
  (slot + quota.slots + 1) * Math.ceil(Duration.toMillis(quota.span) / quota.slots)

/** A column of whole milliseconds. */
export const instant = (at: number): number =>
  Math.ceil(Math.min(Number.MAX_SAFE_INTEGER, Math.max(Number.MIN_SAFE_INTEGER, at)))

/** `open` until it ends by a settle or by itself. */
export const leaseStates = { open: 0, expired: 1, settled: 2 } as const

export interface LeaseRow {
  readonly id: string
  readonly state: number
  /** When it was admitted. */
  readonly at: number
  /** When an open one expires; when another one is forgotten. */
  readonly until: number
  /** As `entriesJson` writes them. */
  readonly entries: string
  /** Ids of their accounts, as JSON. */
  readonly accounts: string
}

type EntryJson = readonly [key: string, amount: number, quota: QuotaJson, subject: Entry["subject"] | null]

interface ReservedJson {
  readonly lease: string
  readonly entries: ReadonlyArray<EntryJson>
}

export const entriesJson = (lease: string, entries: ReadonlyArray<Entry>): string => {
  const written: ReservedJson = {
    lease,
    entries: entries.map(({ amount, key, quota, subject }) => [key, amount, quotaJson(quota), subject ?? null])
  }
  return JSON.stringify(written)
}

export const entriesOf = (json: string): { readonly lease: string; readonly entries: ReadonlyArray<Entry> } => {
  const { entries, lease } = JSON.parse(json) as ReservedJson // as written above
  return {
    lease,
    entries: entries.map(([key, amount, quota, subject]) => ({
      key,
      amount,
      quota: quotaOf(quota),
      subject: subject ?? undefined
    }))
  }
}

/** A line without its postings; texts are escaped. */
export interface ChargeRow {
  readonly id: string
  readonly at: number
  readonly call: string
  readonly provider: string
  readonly model: string
  readonly day: string
  readonly prices: string
  readonly tenant: string | null
  readonly user: string | null
  readonly feature: string | null
  readonly run: string | null
  readonly input: number | null
  readonly output: number | null
  readonly amount: number
  readonly saved: number | null
  readonly outcome: string
  readonly note: string | null
}

export interface PostingRow {
  readonly charge: string
  readonly position: number
  readonly counter: string
  /** The account's name, where it is not all in `counter`. */
  readonly account: string | null
  readonly slot: number
  readonly ends_at: number
  readonly amount: number
  /** 1 where a counter of this store was changed with it, 0 of lines that were appended. */
  readonly own: number
}

export const chargeRow = (line: Line): ChargeRow => ({
  id: escape(line.id),
  at: instant(line.at),
  call: escape(line.call),
  provider: escape(line.provider),
  model: escape(line.model),
  day: escape(line.day),
  prices: escape(line.prices),
  tenant: optional(line.tenant),
  user: optional(line.user),
  feature: optional(line.feature),
  run: optional(line.run),
  input: whole(line.tokens?.input),
  output: whole(line.tokens?.output),
  amount: line.amount,
  saved: whole(line.saved),
  outcome: line.outcome,
  note: optional(line.note)
})

/** What is counted beside money: where it cannot be counted, there is none. */
const whole = (count: number | undefined): number | null =>
  count !== undefined && Number.isFinite(count) ? instant(count) : null

const optional = (text: string | undefined): string | null => (text === undefined ? null : escape(text))

/** The id of the account that a posting names. */
export const counterOf = (account: string): string => idOf(/^\d+\*\d+\//.test(account) ? "R" : "W", account)

export const postingRows = ({ id, postings }: Line, own: boolean): ReadonlyArray<PostingRow> =>
  postings.map(({ account, amount, endsAt, slot }, position) => {
    const counter = counterOf(account)
    const name = escape(account)
    return {
      charge: escape(id),
      position,
      counter,
      account: counter.slice(2) === name ? null : name,
      slot,
      ends_at: instant(endsAt),
      amount,
      own: own ? 1 : 0
    }
  })

/** What a counter says of one sub-window, or of its window. */
export const takenOf = ({ state, taken }: AccountRow, slot: number): number => {
  if (state === "") return 0
  const { quota, slots } = JSON.parse(state) as State // as written above
  return quota[0] === "R" ? (slots.find(([index]) => index === slot)?.[1] ?? 0) : taken
}

/** Integers arrive as numbers, as `bigint` or as texts, whatever the driver makes of them. */
export type Columns<Row> = { readonly [K in keyof Row]: Row[K] extends number | null ? unknown : Row[K] }

export const postingOf = ({
  account,
  amount,
  counter,
  ends_at,
  slot
}: Omit<Columns<PostingRow>, "charge" | "position" | "own">): Posting => ({
  account: unescape(account ?? counter.slice(2)),
  slot: Number(slot),
  endsAt: Number(ends_at),
  amount: Number(amount)
})

export const lineOf = (row: Columns<ChargeRow>, postings: ReadonlyArray<Posting>): Line => ({
  call: unescape(row.call),
  provider: unescape(row.provider),
  model: unescape(row.model),
  day: unescape(row.day),
  prices: unescape(row.prices),
  ...present("tenant", row.tenant),
  ...present("user", row.user),
  ...present("feature", row.feature),
  ...present("run", row.run),
  outcome: row.outcome as Outcome, // nothing else is written
  ...(row.input === null ? {} : { tokens: { input: Number(row.input), output: Number(row.output) } }),
  ...(row.saved === null ? {} : { saved: Number(row.saved) }),
  ...present("note", row.note),
  id: unescape(row.id),
  at: Number(row.at),
  amount: Number(row.amount),
  postings
})

const present = <K extends string>(key: K, value: unknown): { readonly [P in K]?: string } =>
  typeof value === "string" ? ({ [key]: unescape(value) } as { [P in K]: string }) : {} // of the one key
