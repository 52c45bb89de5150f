/** What LocalLlm accepts: the bodies of OpenAI's chat and embeddings requests, and OpenAI's words for what is wrong. */
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"

const optional = <S extends Schema.Constraint>(schema: S) => Schema.optional(Schema.NullOr(schema))

/** A rule in words that never quote the value. */
const rule = <S extends Schema.Schema<number>>(schema: S, min: number, max: number) =>
  schema.check(Schema.isBetween({ minimum: min, maximum: max }, { message: `must be from ${min} to ${max}` }))

const Part = Schema.Struct({ type: Schema.NonEmptyString, text: Schema.optional(Schema.String) })

const ToolCall = Schema.Struct({
  id: Schema.NonEmptyString,
  function: Schema.Struct({ name: Schema.NonEmptyString, arguments: Schema.String })
})

const roles = ["system", "developer", "user", "assistant", "tool"] as const

const Message = Schema.Struct({
  role: Schema.Literals(roles).annotate({ message: `must be one of ${roles.join(", ")}` }),
  content: optional(Schema.Union([Schema.String, Schema.Array(Part)])),
  tool_calls: optional(Schema.Array(ToolCall)),
  tool_call_id: optional(Schema.String)
})

export type ChatMessage = typeof Message.Type

const JsonSchema = Schema.Record(Schema.String, Schema.Unknown)

const Tool = Schema.Struct({
  type: Schema.Literal("function"),
  function: Schema.Struct({
    name: Schema.String.check(
      Schema.isPattern(/^[a-zA-Z0-9_-]{1,64}$/, { message: "must be 1 to 64 letters, digits, _ or -" })
    ),
    description: optional(Schema.String),
    parameters: optional(JsonSchema)
  })
})

export type ChatTool = typeof Tool.Type

const Named = Schema.Struct({ type: Schema.Literal("function"), function: Schema.Struct({ name: Schema.String }) })

const Allowed = Schema.Struct({
  type: Schema.Literal("allowed_tools"),
  allowed_tools: Schema.Struct({ mode: Schema.Literals(["auto", "required"]), tools: Schema.Array(Named) })
})

const ResponseFormat = Schema.Union([
  Schema.Struct({ type: Schema.Literals(["text", "json_object"]) }),
  Schema.Struct({
    type: Schema.Literal("json_schema"),
    json_schema: Schema.Struct({ name: Schema.NonEmptyString, schema: JsonSchema })
  })
])

const tokens = optional(rule(Schema.Int, 1, 128_000))

const ChatRequest = Schema.Struct({
  model: Schema.NonEmptyString,
  messages: Schema.Array(Message).check(Schema.isMinLength(1, { message: "must have at least one entry" })),
  stream: optional(Schema.Boolean),
  stream_options: optional(Schema.Struct({ include_usage: optional(Schema.Boolean) })),
  max_completion_tokens: tokens,
  max_tokens: tokens,
  temperature: optional(rule(Schema.Finite, 0, 2)),
  top_p: optional(rule(Schema.Finite, 0, 1)),
  n: optional(rule(Schema.Int, 1, 1)),
  stop: optional(Schema.Union([Schema.String, Schema.Array(Schema.String)])),
  tools: optional(Schema.Array(Tool)),
  tool_choice: optional(Schema.Union([Schema.Literals(["none", "auto", "required"]), Named, Allowed])),
  response_format: optional(ResponseFormat),
  reasoning_effort: optional(Schema.String)
})

export type ChatRequest = typeof ChatRequest.Type

const EmbeddingsRequest = Schema.Struct({
  model: Schema.NonEmptyString,
  input: Schema.Union([
    Schema.NonEmptyString,
    Schema.NonEmptyArray(Schema.NonEmptyString),
    Schema.NonEmptyArray(Schema.Int),
    Schema.NonEmptyArray(Schema.NonEmptyArray(Schema.Int))
  ]),
  dimensions: optional(rule(Schema.Int, 1, 4_096)),
  encoding_format: optional(Schema.Literals(["float", "base64"]))
})

export type EmbeddingsRequest = typeof EmbeddingsRequest.Type

const ModerationsRequest = Schema.Struct({
  model: optional(Schema.NonEmptyString),
  input: Schema.Union([Schema.NonEmptyString, Schema.NonEmptyArray(Schema.NonEmptyString)])
})

export type ModerationsRequest = typeof ModerationsRequest.Type

/** The `error` object of an answer that is a refusal. */
export interface ApiError {
  readonly message: string
  readonly type: string
  readonly param: string | null
  readonly code: string | null
}

/** A refusal, with the HTTP status that goes with it. */
export interface Refusal {
  readonly status: number
  readonly error: ApiError
}

export const refusal = (
  status: number,
  message: string,
  code: string | null,
  param: string | null = null
): Refusal => ({
  status,
  error: { message, type: status >= 500 ? "server_error" : "invalid_request_error", param, code }
})

const format = SchemaIssue.makeFormatterStandardSchemaV1()

const decode = <A>(schema: Schema.Decoder<A>) => {
  const run = Schema.decodeUnknownResult(schema)
  return (body: unknown): Result.Result<A, Refusal> =>
    Result.mapError(run(body), (error) => {
      const issue = format(error.issue).issues[0]
      const param = name(issue?.path ?? [])
      if (param === "") return refusal(400, "The body must be a JSON object.", null)
      if (issue?.message === "Missing key") {
        return refusal(400, `Missing required parameter: '${param}'.`, "missing_required_parameter", param)
      }
      const why =
        issue?.message.startsWith("must be ") === true ? `it ${issue.message}` : "it has the wrong type or value"
      return refusal(400, `Invalid '${param}': ${why}.`, "invalid_value", param)
    })
}

/** `messages[0].role` */
const name = (path: ReadonlyArray<unknown>): string =>
  path
    .map((part) => (typeof part === "object" && part !== null && "key" in part ? part.key : part))
    .reduce<string>(
      (so, key) => (typeof key === "number" ? `${so}[${key}]` : so === "" ? String(key) : `${so}.${String(key)}`),
      ""
    )

export const embeddingsRequest = (body: unknown): Result.Result<EmbeddingsRequest, Refusal> =>
  Result.filterOrFail(
    decode(EmbeddingsRequest)(body),
    ({ input }) => typeof input === "string" || input.length <= 2_048,
    () => refusal(400, "Invalid 'input': it must have at most 2048 entries.", "invalid_value", "input")
  )

export const moderationsRequest = (body: unknown): Result.Result<ModerationsRequest, Refusal> =>
  decode(ModerationsRequest)(body)

export const chatRequest = (body: unknown): Result.Result<ChatRequest, Refusal> =>
  Result.flatMap(decode(ChatRequest)(body), (request) => {
    const wrong = orphan(request.messages) ?? missingTool(request)
    return wrong === undefined ? Result.succeed(request) : Result.fail(wrong)
  })

/** A tool's result answers a call of the assistant message before it. */
const orphan = (messages: ReadonlyArray<ChatMessage>): Refusal | undefined => {
  const open = new Set<string>()
  for (const [i, message] of messages.entries()) {
    if (message.role === "tool") {
      if (open.delete(message.tool_call_id ?? "")) continue
      const text = "a message with role 'tool' must answer one of the 'tool_calls' of the message before it"
      return refusal(400, `Invalid 'messages[${i}]': ${text}.`, "invalid_value", `messages[${i}].role`)
    }
    for (const call of message.role === "assistant" ? (message.tool_calls ?? []) : []) open.add(call.id)
  }
  return undefined
}

const missingTool = ({ tool_choice, tools }: ChatRequest): Refusal | undefined => {
  if (tool_choice === undefined || tool_choice === null || tool_choice === "none" || tool_choice === "auto")
    return undefined
  const wanted =
    tool_choice === "required"
      ? []
      : tool_choice.type === "function"
        ? [tool_choice.function.name]
        : tool_choice.allowed_tools.tools.map((tool) => tool.function.name)
  const given = new Set(tools?.map((tool) => tool.function.name))
  if (given.size > 0 && wanted.every((name) => given.has(name))) return undefined
  return refusal(400, "Invalid 'tool_choice': it must name a tool in 'tools'.", "invalid_value", "tool_choice")
}
