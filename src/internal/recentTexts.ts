/**
 * What is known of texts that were met lately: their digest, a guard's verdict. A text that comes again is compared with the
 * one that was met, which takes a tenth of the time of SHA-256; two texts that differ are never taken for each other.
 */

/** Places for texts, a power of two, and how many texts share one; the one that was met first leaves. */
const places = 1024
const shared = 8

/** Characters of a text that is remembered. */
export const longest = 2 ** 14

/** How many characters decide on a text's place: at each end, and from all over it. */
const ends = 20
const samples = 16

interface Met<A> {
  /** Of its texts: another sum, and they need not be looked at. */
  readonly sum: number
  readonly text: string
  readonly beside: string
  readonly known: A
}

export class RecentTexts<A> {
  private readonly met = Array.from({ length: places }, (): Array<Met<A>> => [])
  private characters = 0
  /** Where to make room next. */
  private hand = 0
  private readonly most: number
  private readonly before: Int32Array | undefined
  /** What was asked for last: what is not known is mostly set then. */
  private asked = ""
  private askedBeside = ""
  private sum: number = sumOf("", "")

  /**
   * `most`: how many characters all that are remembered have at most, of one or two bytes each. `again`: a text is remembered
   * only when it is met a second time, since many never are, and what is kept costs the garbage collector.
   */
  constructor({ again = false, most = 2 ** 21 }: { readonly again?: boolean; readonly most?: number } = {}) {
    this.most = most
    this.before = again ? new Int32Array(2 ** 14) : undefined
  }

  /** A text may come with another, short one, as a name comes with a first name. */
  get(text: string, beside = ""): A | undefined {
    if (text.length + beside.length > longest) return undefined
    const sum = sumOf(text, beside)
    this.asked = text
    this.askedBeside = beside
    this.sum = sum
    const place = this.place(sum)
    for (let i = 0; i < place.length; i++) {
      const one = place[i]
      if (one?.sum === sum && one.text === text && one.beside === beside) return one.known
    }
    return undefined
  }

  /** A text that is too long is not remembered. */
  set(text: string, known: A, beside = ""): void {
    if (text.length + beside.length > longest) return
    const sum = text === this.asked && beside === this.askedBeside ? this.sum : sumOf(text, beside)
    if (this.before !== undefined && this.isFirst(this.before, sum)) return
    const place = this.place(sum)
    if (place.length === shared) this.leave(place)
    place.push({ sum, text, beside, known })
    this.characters += text.length + beside.length
    while (this.characters > this.most) this.leave(this.place(this.hand++))
  }

  private isFirst(before: Int32Array, sum: number): boolean {
    const one = sum & (before.length - 1)
    const other = (sum >>> 14) & (before.length - 1)
    if (before[one] === sum || before[other] === sum) return false
    before[one] = sum
    before[other] = sum
    return true
  }

  private place(sum: number): Array<Met<A>> {
    return this.met[sum & (places - 1)] as Array<Met<A>> // there are as many
  }

  private leave(place: Array<Met<A>>): void {
    const gone = place.shift()
    if (gone !== undefined) this.characters -= gone.text.length + gone.beside.length
  }
}

/** The last step is that of MurmurHash3, by Austin Appleby: each bit of the sum sways all of the place. */
const sumOf = (text: string, beside: string): number => {
  let sum = Math.imul(sampled(text), 31) + sampled(beside)
  sum = Math.imul(sum ^ (sum >>> 16), 0x85ebca6b)
  sum = Math.imul(sum ^ (sum >>> 13), 0xc2b2ae35)
  return (sum ^ (sum >>> 16)) >>> 2 // a small integer
}

const sampled = (text: string): number => {
  const { length } = text
  const inner = length - ends
  let sum = length
  for (let at = Math.max(0, inner); at < length; at++) sum = (Math.imul(sum, 31) + text.charCodeAt(at)) | 0
  for (let at = Math.min(ends, inner) - 1; at >= 0; at--) sum = (Math.imul(sum, 31) + text.charCodeAt(at)) | 0
  const step = Math.max(1, Math.floor(inner / samples))
  for (let at = ends; at < inner; at += step) sum = (Math.imul(sum, 31) + text.charCodeAt(at)) | 0
  return sum
}
