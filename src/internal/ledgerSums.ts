/** Sums of what a ledger has, by the dimensions that are asked for. */
import type { Dimension, Line, Query, Subject, Sum } from "../Ledger.ts"

/** All that is told apart, with what it sums up to. */
export interface Row extends Pick<Subject, Dimension> {
  readonly charges: number
  readonly amount: number
  readonly saved: number
  readonly input: number
  readonly output: number
}

/** What a line adds; one that only says what was saved, or corrects another one, is no further charge. */
export const rowOf = (line: Omit<Line, "postings">): Row => ({
  day: line.day,
  provider: line.provider,
  model: line.model,
  tenant: line.tenant,
  user: line.user,
  feature: line.feature,
  charges: line.outcome === "saved" || line.outcome === "corrected" ? 0 : 1,
  amount: line.amount,
  saved: line.saved ?? 0,
  input: line.tokens?.input ?? 0,
  output: line.tokens?.output ?? 0
})

/** The largest amount first. */
export const sumBy = (rows: Iterable<Row>, query: Query): ReadonlyArray<Sum> => {
  const by = [...new Set(query.by)]
  const sums = new Map<string, Adding>()
  for (const row of rows) {
    if (!isAsked(row, query)) continue
    const name = JSON.stringify(by.map((dimension) => row[dimension] ?? null))
    let sum = sums.get(name)
    if (sum === undefined) {
      sum = { dimensions: dimensionsOf(row, by), charges: 0, amount: 0, saved: 0, input: 0, output: 0 }
      sums.set(name, sum)
    }
    sum.charges += row.charges
    sum.amount += row.amount
    sum.saved += row.saved
    sum.input += row.input
    sum.output += row.output
  }
  const all = [...sums.values()].toSorted((a, b) => b.amount - a.amount)
  return all.map(({ dimensions, input, output, ...sum }): Sum =>
    Object.assign(sum, dimensions, { tokens: { input, output } })
  )
}

interface Adding extends Pick<Row, "charges" | "amount" | "saved" | "input" | "output"> {
  readonly dimensions: Partial<Pick<Subject, Dimension>>
  charges: number
  amount: number
  saved: number
  input: number
  output: number
}

const dimensionsOf = (row: Row, by: ReadonlyArray<Dimension>): Partial<Pick<Subject, Dimension>> =>
  Object.fromEntries(by.flatMap((dimension) => (row[dimension] === undefined ? [] : [[dimension, row[dimension]]])))

/** Days are written so that their order is that of their texts. */
export const isAsked = ({ day, tenant }: Pick<Row, "day" | "tenant">, query: Query): boolean =>
  (query.from === undefined || day >= query.from) &&
  (query.until === undefined || day <= query.until) &&
  (query.tenant === undefined || tenant === query.tenant)
