/** Is a phrase used, or is it talked about? */

/** Words of somebody who talks about phrases. */
const topic =
  /\b(?:injections?|jailbreaks?|attack\w*|detect\w*|filter\w*|blocks?|blocked|regex\w*|patterns?|phrases?|strings?|examples?|such as|e\.g|means?|meaning|why|what (?:is|does|do)|how (?:do|does|should|can|to|would)|tests?|reject\w*|guardrails?|security|bug|report\w*|wrote|obeyed|said|says|quotes?|words?|list|classif\w*|pentest)\b/
/** Somebody else is to do it: "how do users get a bot to <ignore ...>", "why does the model <ignore ...>". */
const others =
  /\b(?:users?|attackers?|hackers?|someone|people|they|anyone|customers?|students?|model|models|bot|bots|llm|llms|gpt|claude|agent|agents|eslint|compiler|parser|it|that is|i\.e\.)\b[^.!?\n]{0,24}$/
const addressed = /\byou\b/
const forbidden =
  /(?:\b(?:do not|don't|dont|never|not to|must not|cannot|can't|should not|shouldn't|won't|will not|i|we|they|he|she|always|often))[ "'*]{1,3}$/

const reach = 200

/** `text` is folded; the phrase is from `from` to `to`. */
export const isDiscussed = (text: string, from: number, to: number): boolean => {
  const before = text.slice(Math.max(0, from - reach), from)
  const after = text.slice(to, to + reach)
  if (isQuoted(before, after)) return topic.test(before) || topic.test(after)
  const last = before.slice(-48)
  return others.test(last) && !addressed.test(last) && (topic.test(before) || /^[^.!\n]{0,200}\?/.test(after))
}

/** The phrase is what not to do, or what somebody does: no order. */
export const isForbidden = (text: string, from: number): boolean =>
  forbidden.test(text.slice(Math.max(0, from - 16), from))

/** Inside of quotes of any style, a code span or a code block: one opens before it and closes behind it. */
const isQuoted = (before: string, after: string): boolean => {
  if (count(before, "```") % 2 === 1) return true
  const line = before.slice(before.lastIndexOf("\n") + 1)
  const end = after.indexOf("\n")
  const rest = end < 0 ? after : after.slice(0, end)
  if (count(line, '"') % 2 === 1 && rest.includes('"')) return true
  if (count(line, "`") % 2 === 1 && rest.includes("`")) return true
  return /(?:^|[^a-z0-9])'(?:[^']|[a-z0-9]'[a-z])*$/.test(line) && /'(?![a-z0-9])/.test(rest)
}

const count = (text: string, sign: string): number => text.split(sign).length - 1
