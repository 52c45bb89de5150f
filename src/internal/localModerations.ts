/** Moderation by a list of words, which no model made: for trying out what a program does with the answer. */
import type { ModerationsRequest } from "./localRequest.ts"

const lists = {
  harassment: [],
  "harassment/threatening": [],
  hate: [],
  "hate/threatening": [],
  illicit: ["counterfeit", "smuggle"],
  "illicit/violent": ["bomb", "explosive"],
  "self-harm": [],
  "self-harm/instructions": [],
  "self-harm/intent": [],
  sexual: [],
  "sexual/minors": [],
  violence: ["bomb", "kill", "murder", "stab"],
  "violence/graphic": []
} as const satisfies Record<string, ReadonlyArray<string>>

export const moderationsAnswer = ({ input, model }: ModerationsRequest): unknown => ({
  id: "modr-local",
  model: model ?? "omni-moderation-latest",
  results: (typeof input === "string" ? [input] : input).map(result)
})

const result = (text: string): unknown => {
  const said = new Set(text.toLowerCase().match(/\p{L}+/gu))
  const found = Object.entries(lists).map(
    ([category, words]) => [category, words.some((word) => said.has(word))] as const
  )
  return {
    flagged: found.some(([, isFound]) => isFound),
    categories: Object.fromEntries(found),
    category_scores: Object.fromEntries(found.map(([category, isFound]) => [category, isFound ? 0.99 : 0.01])),
    category_applied_input_types: Object.fromEntries(found.map(([category]) => [category, ["text"]]))
  }
}
