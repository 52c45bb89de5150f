/** What LocalLlm makes of the messages it is given: the question, the sentences an answer may quote, and the answer. */
import type { ChatMessage } from "./localRequest.ts"
import { contentWords, readableLength, sentences, stem, stems } from "./localWords.ts"

export interface Reading {
  /** What is asked, without the text it is asked about. */
  readonly question: string
  readonly facts: ReadonlyArray<Fact>
  /** The whole of what the user said last, for values that are to be found in it. */
  readonly text: string
}

interface Fact {
  readonly text: string
  /** `[1]`, where the sentence stands behind such a mark. */
  readonly mark: string | undefined
}

export const read = (messages: ReadonlyArray<ChatMessage>): Reading => {
  const at = messages.findLastIndex((message) => message.role === "user")
  const asked = textOf(messages[at]).slice(-readableLength)
  const { body, question } = split(asked)
  const earlier = messages.flatMap((message, i) => {
    if (i === at) return []
    const text = textOf(message).slice(-readableLength)
    switch (message.role) {
      case "user":
        return sentences(text).every((sentence) => sentence.endsWith("?")) ? [] : [text]
      case "tool":
        return [text]
      case "system":
      case "developer":
        return [marked(text)?.body ?? ""]
      default:
        return []
    }
  })
  return { question, facts: facts([...earlier, body].join("\n\n").slice(-readableLength)), text: asked }
}

/** The text of a message, its text parts joined. */
export const textOf = (message: ChatMessage | undefined): string => {
  const content = message?.content ?? ""
  if (typeof content === "string") return content
  return content.map((part) => part.text ?? "").join("\n")
}

/** Takes apart what is asked and what it is asked about. */
const split = (text: string): { readonly question: string; readonly body: string } => {
  const labelled = /^[ \t]*(?:user |my )?(?:question|query|q)[ \t]*:[ \t]*(.+)$/im.exec(text)
  if (labelled !== null) {
    return { question: labelled[1]!.trim(), body: text.replace(labelled[0], "\n") } // the group is not optional
  }
  const section = marked(text)
  if (section !== undefined && section.before.trim() !== "") return { question: section.before, body: section.body }
  const all = sentences(text)
  const questions = all.filter((sentence) => sentence.endsWith("?"))
  const colon = /^([^:?\n]{3,200}):\s+(\S+\s+\S+\s+\S[\s\S]*)$/.exec(text.trim())
  if (colon !== null) return { question: colon[1]!, body: colon[2]! } // neither group is optional
  if (questions.length === 0) return { question: text, body: "" }
  return { question: questions.join(" "), body: all.filter((sentence) => !sentence.endsWith("?")).join("\n") }
}

/** The section that a label, a tag or a source mark introduces, and what stands around it. */
const marked = (text: string): { readonly before: string; readonly body: string } | undefined => {
  const start = sectionStart.exec(text)
  if (start === null) return undefined
  const from = start.index + (start[0].trimStart().startsWith("[") ? 0 : start[0].length)
  const close = start[1] === undefined ? -1 : text.indexOf(`</${start[1]}`, from)
  const body = close === -1 ? text.slice(from) : text.slice(from, close)
  const after = close === -1 ? "" : text.slice(close).replace(/^<[^>]*>/, "")
  return { before: `${text.slice(0, start.index)}\n${after}`, body }
}

const names = "context|documents?|sources?|notes?|passages?|excerpts?|references?|background|articles?|text"
const sectionStart = new RegExp(
  `^[ \\t]*(?:<(${names})\\b[^>]*>|(?:${names})\\b[^\\n:]{0,40}:|\\[\\d{1,4}\\][ \\t:])`,
  "im"
)

const facts = (text: string): ReadonlyArray<Fact> =>
  text.split(/\n[ \t]*\n|\n(?=[ \t]*\[[^\]\n]{1,40}\])/).flatMap((block) => {
    const plain = block.replaceAll(/<\/?[a-zA-Z][^>\n]{0,200}>/g, "\n").trim()
    const head = /^\[([^\]\n]{1,40})\](?!\()[ \t:]*/.exec(plain)
    const mark = head === null ? undefined : `[${head[1]}]`
    return sentences(plain.slice(head?.[0].length ?? 0)).map((text): Fact => ({ text, mark }))
  })

/** The sentences that share most with the question, or a plain word that this is no model and found nothing. */
export const answer = ({ facts, question }: Reading): string => {
  const subject = contentWords(question).slice(0, 12).join(", ")
  if (facts.length === 0) {
    const about = subject === "" ? "You asked nothing that it could repeat." : `You asked about: ${subject}.`
    return `This is LocalLlm, a local stand-in and not a model. ${about}`
  }
  const best = rank(facts, question)
  if (best.length > 0) return best.map(quote).join(" ")
  if (/\b(?:summar\w*|tl;?dr|shorten|condense)\b/i.test(question)) return facts.slice(0, 2).map(quote).join(" ")
  return `This is LocalLlm, not a model. It found nothing about ${subject || "this"} in the given text.`
}

const quote = ({ mark, text }: Fact): string => (mark === undefined || text.includes(mark) ? text : `${text} ${mark}`)

/** Up to three facts that score at least half of the best one, in the order of the text; a rare word counts more. */
const rank = (facts: ReadonlyArray<Fact>, question: string): ReadonlyArray<Fact> => {
  const wanted = stems(question)
  const found = facts.map((fact) => [...stems(fact.text)].filter((word) => wanted.has(word)))
  const frequency = new Map<string, number>()
  for (const word of found.flat()) frequency.set(word, (frequency.get(word) ?? 0) + 1)
  const weight = (word: string): number => Math.log(1 + facts.length / (frequency.get(word) ?? 1))
  const scored = facts.map((fact, i) => ({ fact, i, score: found[i]!.reduce((sum, word) => sum + weight(word), 0) })) // one per fact
  const best = scored.reduce((most, { score }) => Math.max(most, score), 0)
  return scored
    .filter(({ score }) => score > 0 && score >= best / 2)
    .sort((a, b) => b.score - a.score || a.i - b.i)
    .slice(0, 3)
    .sort((a, b) => a.i - b.i)
    .map(({ fact }) => fact)
}

/** The one sentence that fits best, for a field that wants a text. */
export const bestSentence = (reading: Reading): string =>
  rank(reading.facts, reading.question)[0]?.text ?? reading.facts[0]?.text ?? reading.question.trim()

/** How many words of the question a text shares. */
export const overlap = (question: string, text: string): number => {
  const wanted = stems(question)
  return [...stems(text)].filter((word) => wanted.has(word)).length
}

/** What a reasoning model would say first. */
export const reasoning = ({ facts, question }: Reading): string =>
  `Words looked for: ${contentWords(question).map(stem).slice(0, 12).join(", ") || "none"}. Sentences compared: ${facts.length}.`
