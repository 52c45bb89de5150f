/** The report of the benchmarks is that of the targets and peers as they are now. What it measured is not asked. */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import type { Row } from "../bench/harness.ts"
import { cellsOf, judge, reasonOf, written } from "../bench/report.ts"
import { type Target, targets } from "../bench/targets.ts"

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), "utf8")
const report = read("docs/benchmarks.md")
const lines = report.split("\n")

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly dependencies?: object }>>
}
const lockOf = (path: string) => JSON.parse(read(path)) as Lock // npm writes it so

const verdicts = ["stretch met", "met", "not met", "not measured here: no redis-server"]

describe("docs/benchmarks.md", () => {
  it("has one row for each target, and no other", () => {
    const at = lines.indexOf("| # | what | must | stretch | this run | |")
    assert.isAbove(at, 0)
    const rows = lines.slice(at + 2, lines.indexOf("", at))
    assert.lengthOf(rows, targets.length)
    for (const [i, target] of targets.entries()) {
      const row = rows[i] ?? ""
      assert.isTrue(row.startsWith(cellsOf(target)), `${row}\nis not the row of target ${target.id}`)
      assert.include(verdicts, row.split(" | ").at(-1)?.replace(" |", ""))
    }
  })

  it("says of each target that is not met why, and of no other", () => {
    for (const target of targets) {
      const row = lines.find((line) => line.startsWith(cellsOf(target))) ?? ""
      assert.strictEqual(lines.includes(reasonOf(target)), row.endsWith("| not met |"), target.id)
    }
  })

  it("names the versions of the lock files", () => {
    const bench = lockOf("bench/package-lock.json")
    const peers = Object.keys(bench.packages[""]?.dependencies ?? {})
    assert.include(peers, "cockatiel")
    for (const name of peers) assert.include(lines, `| ${name} | ${bench.packages[`node_modules/${name}`]?.version} |`)
    for (const name of ["effect", "@effect/platform-node"])
      assert.include(lines, `| ${name} | ${lockOf("package-lock.json").packages[`node_modules/${name}`]?.version} |`)
  })
})

describe("targets", () => {
  it("have ids, texts and sentences of their own, and a stretch that is no easier than the must", () => {
    assert.strictEqual(new Set(targets.map(({ id }) => id)).size, targets.length)
    assert.strictEqual(new Set(targets.map(({ what }) => what)).size, targets.length)
    for (const { id, must, stretch, unit, whyNot } of targets) {
      assert.match(whyNot, /^[^.].{40,}\.$/, id)
      assert.isTrue(unit === "faster" ? stretch >= must : stretch <= must, id)
    }
  })

  const row = (name: string, ns: number, bytes = 0): Row => ({ name, ns, p10: ns, p90: ns, ratio: 1, bytes })
  const suites = new Map([["suite", [row("bare", 100), row("ours", 200), row("theirs", 1200), row("others", 900)]]])
  const target = (rest: Pick<Target, "must" | "stretch" | "unit" | "figure">): Target => ({
    id: "0",
    what: "",
    whyNot: "",
    ...rest
  })
  const verdictOf = (one: Target) => {
    const { figure, verdict } = judge(one, { suites, counted: { admit: 1 } })
    return [figure, verdict]
  }

  it("are judged from both sides of their bounds", () => {
    const figure = { suite: "suite", over: "theirs", under: "ours" }
    const faster = (must: number, stretch: number) => verdictOf(target({ must, stretch, unit: "faster", figure }))
    assert.deepStrictEqual(faster(6.01, 7), ["6x faster", "not met"])
    assert.deepStrictEqual(faster(6, 6.01), ["6x faster", "met"])
    assert.deepStrictEqual(faster(5, 6), ["6x faster", "stretch met"])
    const part = { suite: "suite", over: "ours", under: "theirs", without: "bare" }
    const share = (must: number, stretch: number) => verdictOf(target({ must, stretch, unit: "part", figure: part }))
    assert.deepStrictEqual(share(1 / 11.01, 1 / 12), ["1/11", "not met"])
    assert.deepStrictEqual(share(1 / 10.9, 1 / 11.1), ["1/11", "met"])
    assert.deepStrictEqual(share(1 / 10, 1 / 10.9), ["1/11", "stretch met"])
  })

  it("compare with the fastest of several peers, and know what was not measured from what is not there", () => {
    const bounds = { must: 4.5, stretch: 5, unit: "faster" } as const
    const over = ["theirs", "others"]
    assert.deepStrictEqual(verdictOf(target({ ...bounds, figure: { suite: "suite", over, under: "ours" } })), [
      "4.5x faster",
      "met"
    ])
    assert.deepStrictEqual(verdictOf(target({ ...bounds, figure: { suite: "no such suite", over, under: "ours" } })), [
      "",
      "not measured here: no redis-server"
    ])
    assert.throws(
      () => verdictOf(target({ ...bounds, figure: { suite: "suite", over: "nobody", under: "ours" } })),
      /has no case "nobody"/
    )
  })

  it("are written as they are read", () => {
    assert.deepStrictEqual(
      [written("faster", 1.1), written("part", 0.05), written("kilobytes", 4.5), written("growing", 0)],
      ["1.1x faster", "1/20", "4.5 KB", "flat"]
    )
  })
})
