/** Every field of a request and of each kind of part, with values that must not be taken for each other. */
import { Prompt } from "effect/ai"
import type { LlmRequest } from "effect-ballast/LlmRequest"

const part = (text: string) => Prompt.textPart({ text })
const file = (data: Prompt.FilePart["data"]) => Prompt.filePart({ mediaType: "image/png", data })

/** Values of every setting, no two of which are the same request. */
export const settings = {
  maxOutputTokens: [undefined, 1, 2],
  temperature: [undefined, 0, 0.1, 1],
  topP: [undefined, 0, 1],
  seed: [undefined, 0, 1, -1],
  stop: [undefined, [], [""], ["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"]],
  reasoningEffort: [undefined, "none", "low"],
  tools: [
    undefined,
    [],
    [{ name: "a", parameters: {} }],
    [{ name: "a", parameters: {}, strict: false }],
    [{ name: "a", parameters: {}, strict: true }],
    [{ name: "a", parameters: {}, description: "" }],
    [{ name: "a", parameters: { type: "object" } }],
    [{ name: "a", parameters: { properties: { x: {}, y: {} } } }],
    [{ name: "a", parameters: { properties: { y: {}, x: {} } } }],
    ["a", "b"].map((name) => ({ name, parameters: {} })),
    ["b", "a"].map((name) => ({ name, parameters: {} }))
  ],
  toolChoice: [
    undefined,
    "auto",
    "none",
    { tool: "auto" },
    { oneOf: ["auto"] },
    { oneOf: ["auto"], mode: "auto" },
    { oneOf: ["auto"], mode: "required" }
  ],
  responseFormat: [
    undefined,
    { type: "text" },
    { type: "json", name: "a", schema: {} },
    { type: "json", name: "b", schema: {} },
    { type: "json", name: "a", schema: {}, strict: true },
    { type: "json", name: "a", schema: {}, description: "b" },
    { type: "json", name: "a", schema: { properties: { x: {}, y: {} } } },
    { type: "json", name: "a", schema: { properties: { y: {}, x: {} } } }
  ],
  providerOptions: [
    undefined,
    { openai: null },
    { openai: {} },
    { openai: { a: null } },
    { openai: { a: 0 } },
    { openai: { a: "0" } },
    { openai: { a: false } },
    { openai: { a: "" } },
    { openai: { a: [] } },
    { openai: { a: {} } },
    { openai: { a: { x: 1, y: 2 } } },
    { openai: { a: { y: 2, x: 1 } } },
    { anthropic: { a: 0 } }
  ]
} satisfies { readonly [K in Exclude<keyof LlmRequest, "prompt">]-?: ReadonlyArray<LlmRequest[K]> }

type Values<P extends Prompt.Part> = {
  readonly [K in Exclude<keyof P, "type" | `~${string}`>]-?: ReadonlyArray<P[K]>
}

const options = [{}, { openai: { a: 1 } }, { openai: { a: 2 } }, { other: { a: 1 } }]
const result = [
  null,
  "",
  "null",
  0,
  { a: 1, b: 2 },
  { b: 2, a: 1 },
  ["ab", "c"],
  ["a", "bc"],
  undefined,
  [null],
  "[null]"
]

const values: { readonly [T in Prompt.Part["type"]]: Values<Extract<Prompt.Part, { type: T }>> } = {
  text: { text: ["", "a", "a ", "\ud800", "\ufffd", "\udc00", "\ud83d\ude00"], options },
  reasoning: { text: ["", "a"], options },
  file: {
    mediaType: ["image/png", "image/*"],
    fileName: [undefined, "", "undefined"],
    data: ["AQI=", "", new Uint8Array(), Uint8Array.of(1, 2), Uint8Array.of(1, 3), new URL("data:,a"), "data:,a"],
    options
  },
  "tool-call": { id: ["a", "b"], name: ["a", "b"], params: result, providerExecuted: [false, true], options },
  "tool-result": {
    id: ["a", "b"],
    name: ["a", "b"],
    isFailure: [false, true],
    result,
    modelOutput: [undefined, [], [part("ab"), part("c")], [part("a"), part("bc")], [file("AQI=")]],
    providerExecuted: [false, true],
    options
  },
  "tool-approval-request": { approvalId: ["a", "b"], toolCallId: ["a", "b"], options },
  "tool-approval-response": { approvalId: ["a", "b"], approved: [false, true], reason: [undefined, ""], options }
}

/** Each part with the first value of every field, and with one other value of one field. */
export const parts = Object.entries(values).flatMap(([type, ofType]) => {
  const fields = Object.entries(ofType)
  const first = new Map<string, unknown>([["type", type], ...fields.map(([name, [value]]) => [name, value] as const)])
  const others = fields.flatMap(([name, all]) => all.slice(1).map((value: unknown) => new Map(first).set(name, value)))
  // a part of that type by the types of `values`
  return [first, ...others].map((one) => Object.fromEntries(one) as unknown as Prompt.UserMessagePart)
})
