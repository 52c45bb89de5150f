import { describe, expect, it } from "vitest"
import { createHash } from "node:crypto"
import { RecentTexts } from "../src/internal/recentTexts.ts"

const sha = (text: string) => createHash("sha256").update(text).digest("hex")

const counted = () => {
  let hashed = 0
  const recent = new RecentTexts<string>()
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

  it("does not keep what is long", () => {
    const { hashed, of } = counted()
    const text = "a".repeat(2 ** 14 + 1)
    expect(of(text)).toBe(of(text))
    expect(hashed()).toBe(2)
  })
})
