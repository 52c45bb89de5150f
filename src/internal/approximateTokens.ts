/**
 * About how many tokens a text has, from the kinds of its characters alone: no vocabulary, one pass, never more than its
 * UTF-8 bytes.
 *
 * The weights are fitted to OpenAI's `o200k_base`; `test/Tokens.test.ts` states how far off they are for which texts.
 */

/** At least 1 for a text that is not empty; a longer text never has fewer. */
export const count = (text: string): number => {
  let total = 0
  let state = 0
  for (let i = 0; i < text.length; i++) {
    const step = steps[(state & 0xffff) | kindOf[text.charCodeAt(i)]!]! // both tables are whole
    total += step >> 16
    state = step
  }
  return text.length === 0 ? 0 : Math.max(1, Math.ceil(total / 100))
}

/** Hundredths of a token for the first, second, ... character of a run; the last holds for all that follow. */
type Run = readonly [number, ...Array<number>]

const runs: Array<Run> = []
/** The kind of each code unit. */
const kindOf = new Uint8Array(0x1_0000)

/** Code units, from the first to the last of each pair; kinds that come later take them from kinds that came before. */
const kind = (run: Run, ...ranges: ReadonlyArray<number>): number => {
  for (let i = 0; i < ranges.length; i += 2) kindOf.fill(runs.length, ranges[i], (ranges[i + 1] ?? 0) + 1)
  return runs.push(run) - 1
}

// No character costs more than 100 for each of its UTF-8 bytes.
kind([250], 0x0000, 0xffff) // alphabets and symbols that are rare: nearly byte by byte
kind([185], 0x0250, 0x07ff)
kind([100], 0x0000, 0x001f, 0x007f, 0x007f)
const punctuation = kind([100, 63, 0, 0, 0, 0, 0, 0, 2], 0x0021, 0x007e)
const space = kind([0, 73, 1], 0x0020, 0x0020, 0x0009, 0x0009)
const newline = kind([100, 0, 5], 0x000a, 0x000a, 0x000d, 0x000d)
const digit = kind([100, 0, 0, 100, 0, 0, 100, 0, 0, 100, 0, 0, 34], 0x0030, 0x0039)
const upper = kind([100, 0, 0, 0, 0, 0, 17], 0x0041, 0x005a)
const lower = kind([100, 0, 0, 0, 0, 21], 0x0061, 0x007a)
kind([146, 99, 37], 0x0080, 0x00bf, 0x2010, 0x2bff, 0x3000, 0x303f, 0xff00, 0xff65) // arrows, mathematics, boxes
const accented = kind([100, 180], 0x00c0, 0x024f)
const vietnamese = kind([100, 10], 0x1e00, 0x1eff)
const mark = kind([100, 20], 0x0300, 0x036f)
kind([140, 0, 31], 0x0370, 0x03ff) // Greek
kind([100, 0, 0, 35], 0x0400, 0x052f) // Cyrillic
kind([125, 0, 27], 0x0530, 0x058f, 0x10a0, 0x10ff) // Armenian, Georgian
kind([90, 35], 0x0590, 0x05ff) // Hebrew
kind([50, 0, 52], 0x0600, 0x06ff, 0x0750, 0x077f) // Arabic
kind([75, 0, 45], 0x0900, 0x0d7f) // Devanagari, Bengali, Gujarati, Tamil, Telugu, Kannada, Malayalam
kind([63], 0x0a00, 0x0a7f, 0x0d80, 0x0dff, 0x1000, 0x109f, 0x1780, 0x17ff) // Gurmukhi, Sinhala, Burmese, Khmer
kind([105], 0x0b00, 0x0b7f) // Odia
kind([50], 0x0e00, 0x0e7f) // Thai
kind([185], 0x0e80, 0x0eff) // Lao
kind([145], 0x0f00, 0x0fff) // Tibetan
kind([205], 0x1200, 0x139f) // Ethiopic
kind([40, 100], 0x200b, 0x200f, 0xfe00, 0xfe0f) // joiners, variation selectors
kind([73], 0x3040, 0x30ff) // Kana
kind([79], 0x4e00, 0x9fff) // Han
kind([100, 67], 0xac00, 0xd7a3) // Hangul
kind([290], 0xd800, 0xdbff) // the first half of what lies beyond 0xffff
kind([80], 0xd83c, 0xd83e) // of an emoji
kind([100], 0xdc00, 0xdfff) // the second half

const letters = new Set([upper, lower, accented, vietnamese, mark])

/** Whether a character of a kind goes on with the run before it. */
const joins = (before: number, id: number): boolean =>
  before === id || (letters.has(before) && letters.has(id) && id !== upper)

/** What the first character of a run costs behind a character of another kind. */
const begins = (before: number, id: number): number => {
  if (before === punctuation && letters.has(id)) return 24 // "(word" is one or two
  if (before === punctuation && id === newline) return 0
  if (before === space && id === newline) return 100
  if (before === space && id === digit) return 200 // the one thing that a space does not join
  return runs[id]?.[0] ?? 0
}

/**
 * By state and kind: the state that follows in the lower sixteen bits, times 64 for the next look-up, and above it what the
 * character costs. State 0 is before the text, the others are places in a run.
 */
const steps = ((): Int32Array => {
  const places = runs.flatMap((run, id) => run.map((_, place) => ({ id, place })))
  const firsts = runs.map((_, id) => 1 + places.findIndex((one) => one.id === id))
  const table = new Int32Array((places.length + 1) << 6)
  for (const [id, run] of runs.entries()) {
    const set = (state: number, place: number, cost: number): void => {
      table[(state << 6) | id] = (cost << 16) | (((firsts[id] ?? 0) + place) << 6)
    }
    set(0, 0, run[0])
    for (const [i, before] of places.entries()) {
      const place = Math.min(before.place + 1, run.length - 1)
      if (joins(before.id, id)) set(i + 1, place, run[place] ?? 0)
      else set(i + 1, 0, begins(before.id, id))
    }
  }
  return table
})()
