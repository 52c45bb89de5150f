/** Guards of form: what is asked, what is answered and what tools are called with must fit a schema. */
import { type OutputUnit, Validator } from "@cfworker/json-schema"
import * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import type * as JsonSchema from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import type * as Response from "effect/ai/Response"
import type { Checked, Common, Guard, Output, OutputVerdict, Verdict } from "../Guard.ts"
import type { LlmRequest, Tool } from "../LlmRequest.ts"
import { textsOf } from "./guardTexts.ts"
import { block, pass } from "./verdicts.ts"

export interface SchemaOptions<A, I> extends Common {
  /** Default `"schema"`. */
  readonly name?: string | undefined
  readonly schema: Schema.Codec<A, I>
  /** Raised whenever the schema changes. */
  readonly version?: string | undefined
  /** What must fit. Default: what the user says in the last message. */
  readonly of?: ((request: LlmRequest) => unknown) | undefined
}

/** Refuses a request that does not fit a schema: forms, enumerations, lengths. The value itself is never told. */
export const schema = <A, I>(options: SchemaOptions<A, I>): Guard => {
  const { mode = "enforce", name = "schema", of = lastText, onError = "block", version = "1" } = options
  const decode = Schema.decodeUnknownExit(options.schema)
  return {
    ...checking({ mode, name, onError }, [version]),
    input: ({ request }) => (Exit.isSuccess(decode(of(request))) ? pass : block("the request does not fit the schema"))
  }
}

const lastText = (request: LlmRequest): string =>
  textsOf(request).findLast(({ origin }) => origin === "user")?.text ?? ""

const checking = (
  { mode, name, onError }: Pick<Guard, "name" | "mode" | "onError">,
  rules: ReadonlyArray<unknown>
): Omit<Guard, "input" | "output" | "toolCall" | "scan"> => ({
  name,
  fingerprint: JSON.stringify([name, 1, mode, ...rules]),
  scope: "all",
  mode,
  onError,
  timeout: Duration.seconds(2)
})

export interface JsonSchemaOptions extends Common {
  /** Default: that of the request's `responseFormat`; requests without one are left alone. */
  readonly schema?: JsonSchema.JsonSchema | undefined
  /** Asks the model once more, with what was wrong. One more call, which is paid. Default `false`. */
  readonly repair?: boolean | undefined
}

/** Refuses an answer that is not JSON of the schema that was asked for, with `InvalidOutputError`. */
export const jsonSchema = (options: JsonSchemaOptions = {}): Guard => {
  const { mode = "enforce", onError = "block", repair = false, schema } = options
  if (schema !== undefined) validatorOf(schema)
  return {
    ...checking({ name: "jsonSchema", mode, onError }, [repair, schema]),
    output: ({ responseFormat }) => {
      const wanted = schema ?? (responseFormat?.type === "json" ? responseFormat.schema : undefined)
      return wanted && ((output) => checkJson(output, wanted, repair))
    }
  }
}

const checkJson = ({ response }: Output, wanted: JsonSchema.JsonSchema, repair: boolean): OutputVerdict => {
  // it asks for a tool first
  if (response.text === "" && response.toolCalls.length > 0) return pass
  const wrong = violationOf(response.text, wanted)
  if (wrong === undefined) return pass
  const ask = `Your answer is not what was asked for: ${wrong}. Answer again with nothing but JSON that fits the schema.`
  return {
    _tag: "Invalid",
    description: `the answer is not what was asked for: ${wrong}`,
    ask: repair ? ask : undefined
  }
}

/** In words of the schema, not of the answer. */
const violationOf = (text: string, wanted: JsonSchema.JsonSchema): string | undefined => {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return "it is no JSON"
  }
  const { errors, valid } = validatorOf(wanted).validate(value)
  return valid ? undefined : `it breaks the rule ${deepest(errors)} of its schema`
}

/** Where in the schema it failed first, as a pointer; the errors around it only say that something in them failed. */
const deepest = (errors: ReadonlyArray<OutputUnit>): string =>
  errors.reduce((best, { keywordLocation }) => {
    return keywordLocation.split("/").length > best.split("/").length ? keywordLocation : best
  }, "#")

const validators = new WeakMap<JsonSchema.JsonSchema, Validator>()

const validatorOf = (wanted: JsonSchema.JsonSchema): Validator => {
  const known = validators.get(wanted)
  if (known !== undefined) return known
  const made = new Validator(wanted, "2020-12")
  validators.set(wanted, made)
  return made
}

export interface ToolCallOptions extends Common {
  /** Names of tools that may be called. Default: those that the request offers. */
  readonly allow?: ReadonlyArray<string> | undefined
  /** Says more of a call that is allowed and fits. */
  readonly check?: ((call: Response.ToolCallPartEncoded, request: LlmRequest) => Checked<Verdict>) | undefined
  /** Of `check`. Raised whenever it changes. */
  readonly version?: string | undefined
}

/**
 * Refuses calls of tools that are not allowed, and those with arguments that do not fit the tool's schema, before the program
 * gets to see them. Tools that the provider runs itself have run by then: of those only `allow` is checked.
 */
export const toolCall = (options: ToolCallOptions = {}): Guard => {
  const { allow, check, mode = "enforce", onError = "block", version } = options
  if (check !== undefined && version === undefined) {
    throw new RangeError("Guard.toolCall: version must be given with check, and be another one whenever it changes")
  }
  return {
    ...checking({ name: "toolCall", mode, onError }, [allow, version]),
    toolCall: (call, request) => {
      const wrong = wrongCall(call, request, allow)
      if (wrong !== undefined) return block(wrong)
      return check === undefined ? pass : check(call, request)
    }
  }
}

const wrongCall = (
  { name, params, providerExecuted }: Response.ToolCallPartEncoded,
  { tools = [] }: LlmRequest,
  allow: ReadonlyArray<string> | undefined
): string | undefined => {
  const tool: Tool | undefined = tools.find((one) => one.name === name)
  if (allow !== undefined && !allow.includes(name)) {
    return tool === undefined ? "a tool that was not offered" : `tool ${name} is not allowed`
  }
  if (providerExecuted === true) return undefined
  if (tool === undefined) return "a tool that was not offered"
  const { errors, valid } = validatorOf(tool.parameters).validate(params)
  return valid ? undefined : `the arguments of tool ${name} break the rule ${deepest(errors)} of its schema`
}
