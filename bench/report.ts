/** Judges the targets by what a run measured, and writes the report. Reads nothing and measures nothing. */
import type { Row } from "./harness.ts"
import type { Figure, Target, Unit } from "./targets.ts"

/** What a run measured: rows by suite, and what was counted. */
export interface Measured {
  readonly suites: ReadonlyMap<string, ReadonlyArray<Row>>
  readonly counted: Partial<Readonly<Record<(Figure & { readonly counted: string })["counted"], number>>>
}

export type Verdict = "stretch met" | "met" | "not met" | "not measured here: no redis-server"

export interface Judged {
  readonly target: Target
  readonly figure: string
  readonly verdict: Verdict
}

const more = (unit: Unit): boolean => unit === "faster"

const wordings: Readonly<Record<Unit, (value: number) => string>> = {
  faster: (value) => `${rounded(value)}x faster`,
  times: (value) => `${rounded(value)}x`,
  part: (value) => (value > 0 ? `1/${rounded(1 / value)}` : "0"),
  kilobytes: (value) => `${rounded(value)} KB`,
  "round trips": (value) => `${value}`,
  growing: (value) => (value === 0 ? "flat" : `${value} grow`)
}

export const written = (unit: Unit, value: number): string => wordings[unit](value)

/** Two digits behind the point where it is small, so that a figure near its bound shows on which side it is. */
const rounded = (value: number): string => `${Number(value.toFixed(Math.abs(value) < 10 ? 2 : 1))}`

/** `undefined` where its suite did not run. A suite that lacks the case is a mistake of the table. */
export const valueOf = (figure: Figure, { counted, suites }: Measured): number | undefined => {
  if ("counted" in figure) return counted[figure.counted]
  const rows = suites.get(figure.suite)
  if (rows === undefined) return undefined
  const row = (name: string): Row => {
    const found = rows.find((one) => one.name === name)
    if (found === undefined) throw new Error(`targets.ts: "${figure.suite}" has no case "${name}"`)
    return found
  }
  if ("bytesOf" in figure) return row(figure.bytesOf).bytes / 1024
  const without = figure.without === undefined ? 0 : row(figure.without).ns
  const over = Math.min(...[figure.over].flat().map((name) => row(name).ns))
  return (over - without) / (row(figure.under).ns - without)
}

export const judge = (target: Target, measured: Measured): Judged => {
  const value = valueOf(target.figure, measured)
  if (value === undefined) return { target, figure: "", verdict: "not measured here: no redis-server" }
  const reaches = (bound: number) => (more(target.unit) ? value >= bound : value <= bound)
  const verdict = reaches(target.stretch) ? "stretch met" : reaches(target.must) ? "met" : "not met"
  return { target, figure: written(target.unit, value), verdict }
}

/** A row of the table of targets; tests look for its first four cells. */
export const cellsOf = ({ id, must, stretch, unit, what }: Target): string =>
  `| ${id} | ${what} | ${written(unit, must)} | ${written(unit, stretch)} |`

const targetTable = (judged: ReadonlyArray<Judged>): ReadonlyArray<string> => [
  "| # | what | must | stretch | this run | |",
  "| --- | --- | --- | --- | --- | --- |",
  ...judged.map(({ figure, target, verdict }) => `${cellsOf(target)} ${figure} | ${verdict} |`)
]

/** As the list below the table says it. */
export const reasonOf = ({ id, whyNot }: Target): string => `- **${id}**: ${whyNot}`

export interface Report {
  readonly machine: ReadonlyArray<{ readonly name: string; readonly version: string }>
  readonly versions: ReadonlyArray<{ readonly name: string; readonly version: string }>
  readonly rounds: number
  readonly judged: ReadonlyArray<Judged>
  /** Tables under headings of the second level. */
  readonly sections: ReadonlyArray<string>
}

export const document = ({ judged, machine, rounds, sections, versions }: Report): string => {
  const failed = judged.filter(({ verdict }) => verdict === "not met").map(({ target }) => reasonOf(target))
  const count = (verdict: Verdict) => judged.filter((one) => one.verdict === verdict).length
  return [
    "# Benchmarks",
    "",
    "Written by `npm run bench`, every figure by one run of it. `npm run bench NAME` prints the suites with that name alone.",
    "",
    "| | |",
    "| --- | --- |",
    ...machine.map(({ name, version }) => `| ${name} | ${version} |`),
    "",
    "## Versions",
    "",
    "| package | version |",
    "| --- | --- |",
    ...versions.map(({ name, version }) => `| ${name} | ${version} |`),
    "",
    "## How it is measured",
    "",
    `Every suite runs in a process of its own (those over Redis and of vectors share one), with all its cases: in each of ${rounds} rounds`,
    "every case once, in random order, after a minor collection. The table shows the median time of one operation with the tenth and the ninetieth percentile, its ratio to the",
    "case of Ballast that the others are compared with (above 1 it took longer), and the bytes that one operation allocates.",
    "Absolute times move with the machine; ratios of one run are what counts. What says _in a fiber_ is an effect that a",
    "running fiber yields to, _runPromise_ starts a fiber for each, and promises are awaited in a loop. Peers do what they do by",
    "default; where one does less than Ballast, its name says what is missing.",
    "",
    "## Targets",
    "",
    "Set before the code was written, as ratios to others on the same machine.",
    "",
    ...targetTable(judged),
    "",
    `${count("stretch met")} of ${judged.length} reach their stretch, ${count("met")} what they must, ${count("not met")} do not.`,
    "",
    ...(failed.length > 0 ? ["## Targets that are not met, and what would be needed", "", ...failed, ""] : []),
    ...sections
  ].join("\n")
}
