/** What is taken of one quota, as plain numbers. */
import type { Quota } from "../QuotaStore.ts"
import type { Rows } from "./rows.ts"

/** What changes with each use lies together in one array: as fields, V8 would keep each number in an object of its own. */
export class Account {
  quota: Quota
  /** False when the store has dropped it, and another may have its name. */
  kept = true
  readonly name: string
  /** Of a rolling quota: what was taken when, oldest first. */
  readonly slots: Array<Slot>
  /** Where its numbers begin in those of `rows`. */
  row: number
  private readonly rows: Rows

  constructor(name: string, quota: Quota, now: number, rows: Rows) {
    this.name = name
    this.rows = rows
    this.row = rows.open()
    this.quota = quota
    this.slots = quota._tag === "Rolling" ? [] : none
    this.at = now
    restart(this, now, 0)
  }

  /** As if it were new, with so much taken now. */
  begin(now: number, taken: number): void {
    const { row } = this
    const { numbers } = this.rows
    numbers[row] = taken
    numbers[row + 2] = now
    numbers[row + 3] = 0
    numbers[row + 4] = now
    numbers[row + 5] = taken
    numbers[row + 6] = now
    numbers[row + 7] = 0
  }

  /** Above the limit where there is a debt. */
  get taken(): number {
    return this.rows.numbers[this.row]! // a row has eight, always
  }
  set taken(value: number) {
    this.rows.numbers[this.row] = value
  }

  /** What those who are being looked at ask for, and is not taken yet. */
  get asked(): number {
    return this.rows.numbers[this.row + 1]! // as above
  }
  set asked(value: number) {
    this.rows.numbers[this.row + 1] = value
  }

  /** Of a bucket: until when it was refilled, and what of the next unit it already has. */
  get at(): number {
    return this.rows.numbers[this.row + 2]! // as above
  }
  set at(value: number) {
    this.rows.numbers[this.row + 2] = value
  }
  get part(): number {
    return this.rows.numbers[this.row + 3]! // as above
  }
  set part(value: number) {
    this.rows.numbers[this.row + 3] = value
  }

  /** Of a bucket: since when `low` is the least that was ever taken, and the same of the time before. */
  get since(): number {
    return this.rows.numbers[this.row + 4]! // as above
  }
  set since(value: number) {
    this.rows.numbers[this.row + 4] = value
  }
  get low(): number {
    return this.rows.numbers[this.row + 5]! // as above
  }
  set low(value: number) {
    this.rows.numbers[this.row + 5] = value
  }
  get before(): number {
    return this.rows.numbers[this.row + 6]! // as above
  }
  set before(value: number) {
    this.rows.numbers[this.row + 6] = value
  }
  get lowBefore(): number {
    return this.rows.numbers[this.row + 7]! // as above
  }
  set lowBefore(value: number) {
    this.rows.numbers[this.row + 7] = value
  }
}

export interface Slot {
  index: number
  taken: number
}

/** Shared by those that have no slots. */
const none: Array<Slot> = []

/** Nothing is known of what was taken before an instant: who was admitted earlier gets nothing back. */
export const restart = (account: Account, at: number, level: number): void => {
  account.before = account.since = at
  account.low = account.lowBefore = level
}
