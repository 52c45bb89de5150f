/** The rules a request must keep, each broken one named with its field. Values are never quoted: they may be private. */
import * as Option from "effect/Option"
import * as Predicate from "effect/Predicate"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as SchemaIssue from "effect/SchemaIssue"
import * as AiError from "effect/ai/AiError"
import * as Prompt from "effect/ai/Prompt"
import type { LlmRequest } from "../LlmRequest.ts"

const invalid = (parameter: string, constraint: string) => new AiError.InvalidRequestError({ parameter, constraint })

const roles = new Set<unknown>(["system", "user", "assistant", "tool"])

const decodeMessages = Schema.decodeUnknownResult(Schema.Array(Prompt.Message))

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

/** The prompt in its one form, or why it is none: not messages, an unknown role, a wrong part, or nothing to answer. */
export const prompt = (input: Prompt.RawInput): Result.Result<Prompt.Prompt, AiError.InvalidRequestError> => {
  if (typeof input === "string" || Prompt.isPrompt(input)) return nonEmpty(Prompt.make(input))
  if (!Predicate.isIterable(input)) return Result.fail(invalid("prompt", "must be a string, messages or a Prompt"))
  const messages: ReadonlyArray<unknown> = Array.from(input)
  for (const [i, message] of messages.entries()) {
    if (!Predicate.hasProperty(message, "role") || !roles.has(message.role)) {
      return Result.fail(invalid(`prompt[${i}].role`, "must be one of system, user, assistant, tool"))
    }
  }
  const decoded = decodeMessages(messages)
  return Result.isFailure(decoded)
    ? Result.fail(invalid(`prompt${pathOf(decoded.failure.issue)}`, "does not have the shape of a message of its role"))
    : nonEmpty(Prompt.fromMessages(decoded.success))
}

/** Where a Schema issue lies; the message of the issue would quote the value. */
const pathOf = (issue: SchemaIssue.Issue): string => {
  const path = formatIssue(issue).issues.reduce<ReadonlyArray<unknown>>((longest, one) => {
    return one.path !== undefined && one.path.length > longest.length ? one.path : longest
  }, [])
  return path.map((key) => (typeof key === "number" ? `[${key}]` : `.${String(key)}`)).join("")
}

const nonEmpty = (value: Prompt.Prompt): Result.Result<Prompt.Prompt, AiError.InvalidRequestError> =>
  value.content.some(hasContent)
    ? Result.succeed(value)
    : Result.fail(invalid("prompt", "must not be empty: at least one message needs text or another part"))

const hasContent = (message: Prompt.Message): boolean =>
  typeof message.content === "string"
    ? message.content.trim() !== ""
    : message.content.some((part) =>
        part.type === "text" || part.type === "reasoning" ? part.text.trim() !== "" : true
      )

/** The first rule that the options break. */
export const options = (request: LlmRequest): AiError.InvalidRequestError | undefined =>
  sampling(request) ?? tools(request) ?? format(request)

const sampling = (request: LlmRequest): AiError.InvalidRequestError | undefined => {
  const { maxOutputTokens, seed, stop, temperature, topP } = request
  if (maxOutputTokens !== undefined && !(Number.isSafeInteger(maxOutputTokens) && maxOutputTokens >= 1)) {
    return invalid("maxOutputTokens", "must be an integer >= 1")
  }
  if (temperature !== undefined && !(Number.isFinite(temperature) && temperature >= 0)) {
    return invalid("temperature", "must be a finite number >= 0")
  }
  if (topP !== undefined && !(topP >= 0 && topP <= 1)) return invalid("topP", "must be a number from 0 to 1")
  if (seed !== undefined && !Number.isSafeInteger(seed)) return invalid("seed", "must be an integer")
  if (stop !== undefined && stop.some((text) => text === "")) return invalid("stop", "must not hold an empty string")
  return undefined
}

const tools = (request: LlmRequest): AiError.InvalidRequestError | undefined => {
  if (request.tools === undefined && typeof request.toolChoice !== "object") return undefined
  const names = new Set<string>()
  for (const [i, tool] of (request.tools ?? []).entries()) {
    if (typeof tool.name !== "string" || tool.name.trim() === "") {
      return invalid(`tools[${i}].name`, "must be a string that is not empty")
    }
    if (names.has(tool.name)) return invalid(`tools[${i}].name`, "must be unique among the tools")
    if (!Predicate.isObject(tool.parameters)) return invalid(`tools[${i}].parameters`, "must be a JSON Schema object")
    names.add(tool.name)
  }
  return chosenTools(request.toolChoice).pipe(
    Option.filter((chosen) => chosen.length === 0 || chosen.some((name) => !names.has(name))),
    Option.map(() => invalid("toolChoice", "must name tools that are in the field tools")),
    Option.getOrUndefined
  )
}

const chosenTools = (choice: LlmRequest["toolChoice"]): Option.Option<ReadonlyArray<string>> =>
  typeof choice !== "object" ? Option.none() : Option.some("tool" in choice ? [choice.tool] : choice.oneOf)

const format = (request: LlmRequest): AiError.InvalidRequestError | undefined => {
  const wanted = request.responseFormat
  if (wanted?.type !== "json") return undefined
  if (wanted.name.trim() === "") return invalid("responseFormat.name", "must not be empty")
  return Predicate.isObject(wanted.schema)
    ? undefined
    : invalid("responseFormat.schema", "must be a JSON Schema object")
}
