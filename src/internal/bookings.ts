/** The line that a reservation of money becomes: when it is settled, when it expires, and when it is settled after that. */
import type { Charge, Line, Posting, Subject } from "../Ledger.ts"
import type { Entry } from "../QuotaStore.ts"
import { nameOf, usedOf, widthOf } from "./quotas.ts"

/** A reservation that is charged. */
export interface Reserved {
  readonly lease: string
  readonly entries: ReadonlyArray<Entry>
  /** When it was admitted. */
  readonly at: number
  /** The name of an entry's account, where somebody knows it already. */
  readonly account?: ((i: number) => string | undefined) | undefined
}

/** `undefined` where nothing is to be written. */
export const settled = (
  reserved: Reserved,
  actual: ReadonlyArray<number>,
  charge: Charge | undefined,
  now: number
): Line | undefined => {
  const { lease } = reserved
  const line = lineOf(lease, reserved, ({ amount }, i) => usedOf(actual[i], amount), charge ?? { outcome: "lost" }, now)
  return charge === undefined && line?.amount === 0 && line.postings.length === 0 ? undefined : line
}

export const expired = (reserved: Reserved, now: number): Line | undefined =>
  lineOf(reserved.lease, reserved, ({ amount }) => amount, { outcome: "expired" }, now)

/** The difference to what was charged when it expired; `undefined` where there is none. */
export const corrected = (
  reserved: Reserved,
  actual: ReadonlyArray<number>,
  charge: Charge | undefined,
  now: number
): Line | undefined => {
  const changed = ({ amount }: Entry, i: number) => usedOf(actual[i], amount) - amount
  const line = lineOf(`${reserved.lease}/late`, reserved, changed, { ...charge, outcome: "corrected" }, now)
  return line?.amount === 0 && line.postings.length === 0 && charge?.tokens === undefined ? undefined : line
}

const lineOf = (
  id: string,
  { account, at, entries }: Reserved,
  changed: (entry: Entry, i: number) => number,
  charge: Charge,
  now: number
): Line | undefined => {
  let subject: Subject | undefined
  let amount = 0
  const postings: Array<Posting> = []
  for (const [i, entry] of entries.entries()) {
    if (entry.subject === undefined) continue
    const change = changed(entry, i)
    if (subject === undefined) {
      subject = entry.subject
      amount = change
    }
    const posting = change === 0 ? undefined : postingOf(entry, change, at, account?.(i))
    if (posting !== undefined) postings.push(posting)
  }
  return subject === undefined ? undefined : { ...subject, ...charge, id, at: now, amount, postings }
}

/** Where so much was booked; only windows and rolling quotas count money. */
export const postingOf = (
  entry: Pick<Entry, "key" | "quota">,
  amount: number,
  admittedAt: number,
  account = nameOf(entry)
): Posting | undefined => {
  const { quota } = entry
  if (quota._tag === "Window") return { account, slot: 0, endsAt: quota.endsAt, amount }
  if (quota._tag !== "Rolling") return undefined
  const width = widthOf(quota)
  const slot = Math.floor(admittedAt / width)
  return { account, slot, endsAt: (slot + quota.slots + 1) * width, amount }
}
