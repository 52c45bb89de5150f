/** How LocalLlm sees text: words without endings, the words that carry meaning, sentences. */

/** Longest text that is looked at, in characters; the end of a longer one, where the question is. */
export const readableLength = 200_000

const wordSegmenter = new Intl.Segmenter("en", { granularity: "word" })
const sentenceSegmenter = new Intl.Segmenter("en", { granularity: "sentence" })

/** The words of a text as they are written. */
export const words = (text: string): ReadonlyArray<string> =>
  Array.from(wordSegmenter.segment(text.slice(-readableLength)), (part) => part).flatMap(({ isWordLike, segment }) =>
    isWordLike === true ? [segment] : []
  )

/** The sentences of a text, each without the white space around it; a line break ends one. */
export const sentences = (text: string): ReadonlyArray<string> =>
  text
    .slice(-readableLength)
    .split("\n")
    .flatMap((line) => Array.from(sentenceSegmenter.segment(line), ({ segment }) => segment.trim()))
    .filter((sentence) => sentence !== "")

/** A word as it is compared: lower case, without accents and the commonest English endings. */
export const stem = (word: string): string => {
  const plain = word
    .normalize("NFKD")
    .replaceAll(/\p{M}/gu, "")
    .toLowerCase()
    .replace(/['’]s$/, "")
  const short = plain.replace(/(?:ies|y)$/, "i").replace(/(?:ing|edly|ed|ly|es|s)$/, "")
  return short.length < 3 ? plain : short.replace(/(.)\1$/, "$1").replace(/e$/, "")
}

/** The words that carry meaning, in order and as written, each once. */
export const contentWords = (text: string): ReadonlyArray<string> => {
  const seen = new Set<string>()
  return words(text).filter((word) => {
    const key = stem(word)
    if (isStopWord(word) || seen.has(key)) return false
    seen.add(key)
    return true
  })
}

/** The same, as they are compared. */
export const stems = (text: string): ReadonlySet<string> => new Set(contentWords(text).map(stem))

export const isStopWord = (word: string): boolean => stopWords.has(word.toLowerCase().replace("’", "'"))

const stopWords = new Set(
  `a about above after again all also am an and any answer are aren't as ask at be because been before being below
  between both but by call called can can't cannot could describe did do does doesn't doing don't down during each
  explain few find for from further get give given had has have having he her here hers him his how i if in into is
  isn't it it's its itself just know let let's list made make many may me mean might more most much must my no nor not
  now of off on once only or other our out over own please provide question return returns s same say shall she should
  show so some such t tell than that that's the their them then there these they this those through to too tool under
  until up us use used user uses using very want was we were what what's when where which while who who's whom whose
  why will with would you your`
    .split(/\s+/)
    .filter((word) => word !== "")
)
