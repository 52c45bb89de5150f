/** Patterns answer only what no continuation of the text can change. */
import { assert, describe, it } from "@effect/vitest"
import * as Pattern from "../src/internal/pattern.ts"

const { ahead, chars, check, mark, maybe, more, no, notBefore, oneOf, seq, set, text, unless } = Pattern

const window = (known: string, final = false): Pattern.Window =>
  Object.assign(new Pattern.Window(), { text: known, final })
const match = (pattern: Pattern.Pattern, known: string, final = false): number => pattern.match(window(known, final), 0)

describe("a pattern", () => {
  it("matches, does not, or must know more", () => {
    const key = seq(text("sk-"), chars(set("a-z"), 2))
    assert.strictEqual(match(key, "sk-ab"), 5)
    assert.strictEqual(match(key, "sk-a"), more)
    assert.strictEqual(match(key, "sk-a", true), no)
    assert.strictEqual(match(key, "s"), more)
    assert.strictEqual(match(key, ""), more)
    assert.strictEqual(match(key, "sx"), no)
    assert.strictEqual(match(key, "sk-aB"), no)
  })

  it("takes as many characters as it may, and waits for them", () => {
    const word = chars(set("a-z"), 2, 4)
    assert.strictEqual(match(word, "a1"), no)
    assert.strictEqual(match(word, "ab"), more)
    assert.strictEqual(match(word, "ab", true), 2)
    assert.strictEqual(match(word, "ab1"), 2)
    assert.strictEqual(match(word, "abcd"), 4)
    assert.strictEqual(match(word, "abcde"), 4)
  })

  it("prefers the first of several", () => {
    const either = oneOf(text("abc"), text("ab"))
    assert.strictEqual(match(either, "abc"), 3)
    assert.strictEqual(match(either, "ab"), more)
    assert.strictEqual(match(either, "ab", true), 2)
    assert.strictEqual(match(either, "abd"), 2)
    assert.strictEqual(match(seq(maybe(text("x")), text("y")), "y"), 1)
    assert.strictEqual(match(seq(maybe(text("x")), text("y")), "xy"), 2)
  })

  it("looks ahead without taking anything", () => {
    assert.strictEqual(match(seq(text("a"), notBefore(set("0-9"))), "a"), more)
    assert.strictEqual(match(seq(text("a"), notBefore(set("0-9"))), "a1"), no)
    assert.strictEqual(match(seq(text("a"), notBefore(set("0-9"))), "ab"), 1)
    assert.strictEqual(match(seq(text("a"), notBefore(set("0-9"))), "a", true), 1)
    assert.strictEqual(match(seq(text("a"), ahead(text("bc"))), "abc"), 1)
    assert.strictEqual(match(seq(text("a"), ahead(text("bc"))), "ab"), more)
    assert.strictEqual(match(seq(text("a"), ahead(text("bc"))), "abd"), no)
    assert.strictEqual(match(unless(text("x")), "", true), 0)
  })

  it("remembers where its context ends", () => {
    const known = window("key=abc")
    assert.strictEqual(seq(text("key="), mark, chars(set("a-z"), 3)).match(known, 0), 7)
    assert.strictEqual(known.from, 4)
  })

  it("passes what it found to a check", () => {
    const even = check(chars(set("0-9"), 2), (found) => Number(found) % 2 === 0)
    assert.strictEqual(match(even, "42"), 2)
    assert.strictEqual(match(even, "41"), no)
    assert.strictEqual(match(even, "4"), more)
  })

  it("has letters in any case if asked, one for one", () => {
    assert.strictEqual(match(text("Straße", true), "sTRAßE"), 6)
    assert.strictEqual(match(text("İx", true), "İX"), 2)
    assert.strictEqual(match(text("Key"), "key"), no)
  })

  it("knows what it begins with, how its second character looks and how far it reads", () => {
    const begins = (pattern: Pattern.Pattern, char: string): boolean => Pattern.has(pattern.first, char.charCodeAt(0))
    const pattern = seq(
      maybe(text("a")),
      chars(set("b"), 0, 2),
      oneOf(text("cd"), text("ef", true)),
      notBefore(set("x"))
    )
    assert.deepStrictEqual(
      ["a", "b", "c", "e", "E", "d", "x"].map((char) => begins(pattern, char)),
      [true, true, true, true, true, false, false]
    )
    assert.strictEqual(pattern.longest, 6)
    assert.isUndefined(pattern.second)
    const keyed = oneOf(text("cd"), text("ef", true)).second
    assert.deepStrictEqual(
      ["d", "f", "F", "c"].map((char) => keyed !== undefined && Pattern.has(keyed, char.charCodeAt(0))),
      [true, true, true, false]
    )
    assert.isUndefined(oneOf(text("cd"), text("e")).second)
    assert.isTrue(begins(text("密"), "钥"), "all characters beyond Latin share a place")
  })

  it("has sets with ranges and a minus at either end", () => {
    const chars = set("-a-c_-")
    assert.deepStrictEqual(
      ["-", "a", "b", "c", "_", "d"].map((char) => Pattern.has(chars, char.charCodeAt(0))),
      [true, true, true, true, true, false]
    )
    assert.isFalse(Pattern.has(Pattern.not(set("a")), Pattern.nothing))
  })
})
