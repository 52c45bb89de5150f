import { assert, describe, it } from "@effect/vitest"
import { Recent } from "../src/internal/recent.ts"
import { Rows } from "../src/internal/rows.ts"

describe("recent values", () => {
  it("are made once while they are in use, and as many as are remembered stay few over a million names", () => {
    let made = 0
    const recent = new Recent((name) => ({ name, number: made++ }))
    const often = recent.get("often")
    for (let i = 0; i < 1_000_000; i++) {
      recent.get(`name ${i}`)
      if (i % 1000 === 0) assert.strictEqual(recent.get("often"), often)
    }
    assert.isAtMost(recent.size, 32_768)
    assert.strictEqual(made, 1_000_001)
    assert.notStrictEqual(recent.get("name 0").number, 1)
  })

  it("are made anew when somebody says so", () => {
    let made = 0
    const recent = new Recent(() => made++)
    assert.deepStrictEqual([recent.get("a"), recent.renew("a"), recent.get("a")], [0, 1, 1])
  })
})

describe("rows", () => {
  it("keep their numbers when there are more of them, and begin with zeros", () => {
    const rows = new Rows(1)
    const opened = Array.from({ length: 100 }, () => ({ row: rows.open() }))
    for (const [i, { row }] of opened.entries()) rows.numbers[row + 7] = i
    assert.deepStrictEqual(
      opened.map(({ row }) => rows.numbers[row + 7]),
      opened.map((_, i) => i)
    )
    rows.close(opened[3]?.row ?? assert.fail())
    const again = rows.open()
    assert.strictEqual(again, opened[3]?.row)
    assert.strictEqual(rows.numbers[again + 7], 0)
  })

  it("move together when most of them are free", () => {
    const rows = new Rows(1)
    const opened = Array.from({ length: 4096 }, (_, i) => {
      const row = rows.open()
      rows.numbers[row] = i
      return { row }
    })
    const kept = opened.filter((_, i) => i % 100 === 0)
    for (const [i, { row }] of opened.entries()) if (i % 100 !== 0) rows.close(row)
    assert.isTrue(rows.isSparse)
    const before = rows.numbers.length
    rows.compact(kept, kept.length)
    assert.isBelow(rows.numbers.length, before / 8)
    assert.deepStrictEqual(
      kept.map(({ row }) => rows.numbers[row]),
      kept.map((_, i) => 100 * i)
    )
    assert.isFalse(rows.isSparse)
  })
})
