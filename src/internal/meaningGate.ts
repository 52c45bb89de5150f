/**
 * May the answer to one text be given for another whose meaning seems to be the same? Vectors of "with" and "without", of two
 * dates or of two names are nearly equal, the answers are not.
 *
 * A miss costs money, a wrong answer costs trust: in doubt texts differ. All that is not known to say nothing ("please tell
 * me what") must be said by both, in the same words or known synonyms; a name is a word like any other, so that "python" may
 * be "Python". What the lists of words do not know costs a hit, seldom an answer.
 *
 * A thousand is `1000` and `1,000`, and `1.000` too where the text is German, French, Spanish, Italian, Portuguese or Dutch,
 * or has a second group (`1.000.000`); elsewhere `1.000` is one, and zeros at an end count: `3.10` is not `3.1`.
 */
import { createHmac, hash } from "node:crypto"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import { type Found, read as wordsOf } from "./meaningReader.ts"
import { bare, instants, normalised, quotes } from "./meaningText.ts"

/**
 * In which a difference forbids an answer. `topic` is what is asked about, names included; `order` is who
 * does what to whom.
 */
export type Kind = (typeof kinds)[number]

const kinds = [
  "number",
  "date",
  "unit",
  "quote",
  "code",
  "negation",
  "comparison",
  "question",
  "form",
  "language",
  "topic",
  "order"
] as const

/** Plain data: sorted texts by kind. */
export type Features = Readonly<Record<Kind, ReadonlyArray<string>>>

/** Takes time linear in the length of the text; a cache asks for at most 2,000 characters. */
export const features = (text: string): Features => {
  const quoted = quotes(normalised(text))
  const dated = instants(quoted.rest)
  const found = wordsOf(dated.rest)
  const { code, comparison, form, number, unit } = found
  const said = [found.topic, number, unit, code, comparison, form, quoted.found, dated.found]
  const isEmpty = said.every(({ length }) => length === 0)
  // of "how are you" and "thanks" nothing is left: such texts are taken as they are
  const topic = isEmpty ? [bare(dated.rest)] : unique(found.topic)
  return {
    number: inOrder(found.number),
    date: [...inOrder(dated.found), ...unique(found.date)].sort(),
    unit: inOrder(found.unit),
    quote: inOrder(quoted.found),
    code: inOrder(found.code),
    negation: [...found.negation].sort(),
    comparison: unique(found.comparison),
    question: unique(found.question),
    form: unique(found.form),
    language: unique(found.language),
    topic,
    order: matters(found, topic.length) ? [found.topic.join(" ")] : []
  }
}

const unique = (found: ReadonlyArray<string>): ReadonlyArray<string> => [...new Set(found)].sort()

/** Sorted texts that keep the order: `from 1 to 2` is not `from 2 to 1`. */
const inOrder = (found: ReadonlyArray<string>): ReadonlyArray<string> => found.map((one, i) => `${i}:${one}`).sort()

/** "A and B" is "B and A", "the capital of France" is "France's capital"; nothing else may change places. */
const matters = ({ comparison, directed, joined, negation }: Found, topics: number): boolean =>
  topics > 1 &&
  (directed || comparison.some((one) => !mutual.has(one)) || negation.length > 0 || (topics > 2 && !joined))

const mutual = new Set(["difference", "similarity", "same", "both"])

/** The kinds in which two texts differ; none if one answer may serve both. */
export const differ = (a: Features, b: Features): ReadonlyArray<Kind> =>
  kinds.filter((kind) => !equal(a[kind], b[kind]) && (kind !== "order" || bothOrdered(a, b)))

/** "Flights from A to B" may be "flights A B": where one text leaves the order open, it is no difference. */
const bothOrdered = (a: Features, b: Features): boolean => a.order.length === b.order.length && equal(a.topic, b.topic)

const equal = (a: ReadonlyArray<string>, b: ReadonlyArray<string>): boolean =>
  a.length === b.length && a.every((one, i) => one === b[i])

/**
 * The features to keep: digests of 16 bytes in base64url that `differ` compares as it compares the features themselves, with
 * others of the same secret only. Without a secret anyone can try out which words are behind them. Throws a `RangeError` for
 * an empty secret.
 */
export const digest = (features: Features, secret?: string): Features => {
  if (secret === "") throw new RangeError("SemanticCache: keySecret must not be empty")
  const of = (kind: Kind): ReadonlyArray<string> =>
    features[kind].map((one) => digestOf(`${kind}\0${one}`, secret)).sort()
  return {
    number: of("number"),
    date: of("date"),
    unit: of("unit"),
    quote: of("quote"),
    code: of("code"),
    negation: of("negation"),
    comparison: of("comparison"),
    question: of("question"),
    form: of("form"),
    language: of("language"),
    topic: of("topic"),
    order: of("order")
  }
}

/** Raised whenever the same text gets other features: those that were kept are then misses. */
const version = 1

/** Plain JSON, for an index. */
export const write = (features: Features): unknown => ({ version, ...features })

/** What was written; `undefined` for anything else, also for what another version wrote. */
export const read = (data: unknown): Features | undefined => Option.getOrUndefined(decode(data))

const texts = Schema.Array(Schema.String)
const decode = Schema.decodeUnknownOption(
  Schema.Struct({
    version: Schema.Literal(version),
    number: texts,
    date: texts,
    unit: texts,
    quote: texts,
    code: texts,
    negation: texts,
    comparison: texts,
    question: texts,
    form: texts,
    language: texts,
    topic: texts,
    order: texts
  })
)

const digestOf = (text: string, secret: string | undefined): string => {
  const whole =
    secret === undefined ? hash("sha256", text, "buffer") : createHmac("sha256", secret).update(text).digest()
  return whole.subarray(0, 16).toString("base64url")
}
