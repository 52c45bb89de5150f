import { describe, expect, it } from "vitest"
import { createHash } from "node:crypto"
import { RecentTexts } from "../src/internal/recentTexts.ts"

const sha = (text: string) => createHash("sha256").update(text).digest("hex")

const counted = () => {
  let hashed = 0
  const recent = new RecentTexts<string>({ most: 2 ** 22 })
  const of = (text: string) => {
    const known = recent.get(text)
    if (known !== undefined) return known
    hashed++
    recent.set(text, sha(text))
    return sha(text)
  }
  return { of, hashed: () => hashed }
}

describe("recentTexts", () => {
  it("knows a text again, also when it comes as another string", () => {
    const { hashed, of } = counted()
    const text = "weight low in a ship ".repeat(100)
    const copy = Buffer.from(text).toString()
    expect([of(text), of(copy), of(`${text.slice(0, 50)}${text.slice(50)}`)]).toEqual([sha(text), sha(text), sha(text)])
    expect(hashed()).toBe(1)
  })

  it("never takes one text for another that differs in a single character, wherever it is", () => {
    const { of } = counted()
    const text = "a".repeat(500)
    for (let round = 0; round < 2; round++)
      for (let at = 0; at < text.length; at++) {
        const other = `${text.slice(0, at)}b${text.slice(at + 1)}`
        expect(of(text)).toBe(sha(text))
        expect(of(other)).toBe(sha(other))
      }
  })

  it("holds for thousands of texts in turn, the empty one too", () => {
    const { of } = counted()
    for (let round = 0; round < 2; round++)
      for (let i = 0; i < 3000; i++) {
        const text = "x".repeat(i % 40) + (i === 0 ? "" : i)
        expect(of(text)).toBe(sha(text))
      }
  })

  it("tells apart what a text comes with", () => {
    const recent = new RecentTexts<number>()
    recent.set("text", 1, "a")
    recent.set("text", 2, "b")
    recent.set("", 3, "text")
    expect([recent.get("text", "a"), recent.get("text", "b"), recent.get("text"), recent.get("", "text")]).toEqual([
      1,
      2,
      undefined,
      3
    ])
  })

  it("keeps thousands of texts that differ at their beginning, at their end or in length", () => {
    const { hashed, of } = counted()
    const prose = "weight low in a ship ".repeat(10)
    const texts = Array.from({ length: 700 }, (_, i) => [
      `${i} ${prose}`,
      `${prose} ${i}`,
      prose + "x".repeat(i)
    ]).flat()
    for (const text of texts) of(text)
    for (const text of texts) of(text)
    expect(hashed()).toBeLessThan(1.3 * texts.length)
  })

  it("lets old texts go when it has as many characters as it may", () => {
    const recent = new RecentTexts<number>({ most: 10_000 })
    const texts = Array.from({ length: 1000 }, (_, i) => String(i).padStart(100))
    for (const [i, text] of texts.entries()) recent.set(text, i)
    const known = texts.filter((text) => recent.get(text) !== undefined)
    expect(known.length).toBeLessThanOrEqual(100)
    expect(known.length).toBeGreaterThan(90)
    for (const text of known) expect(recent.get(text)).toBe(Number(text))
  })

  it("keeps from the second time on, if told so, and so nothing of what comes but once", () => {
    const recent = new RecentTexts<number>({ again: true })
    const often = Array.from({ length: 2000 }, (_, i) => `often ${i}`)
    for (let round = 0; round < 3; round++) for (const [i, text] of often.entries()) recent.set(text, i)
    for (let i = 0; i < 2000; i++) recent.set(`once ${i}`, i)
    const known = (texts: ReadonlyArray<string>) => texts.filter((text) => recent.get(text) !== undefined).length
    expect(known(often)).toBeGreaterThan(1900)
    expect(known(often.map((_, i) => `once ${i}`))).toBe(0)
  })

  it("does not keep what is long", () => {
    const { hashed, of } = counted()
    const text = "a".repeat(2 ** 14 + 1)
    expect(of(text)).toBe(of(text))
    expect(hashed()).toBe(2)
  })
})
