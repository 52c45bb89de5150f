/** A provider as the `LanguageModel` of `effect/ai`: tools, structured output, `Chat` and streams work as with any other. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import type * as Response from "effect/ai/Response"
import * as Tool from "effect/ai/Tool"
import { LlmError, type Phase, toAiError } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import * as LlmRequest from "../LlmRequest.ts"

export const make = (provider: Service): Effect.Effect<LanguageModel.LanguageModel> => {
  const bridge = new Bridge(provider)
  return LanguageModel.make({
    codecTransformer: bridge.transform,
    generateText: (options) =>
      bridge.request(options).pipe(
        Effect.flatMap(provider.generate),
        Effect.flatMap((response) => Effect.forEach(response.parts, (part) => bridge.answered(part, options))),
        Effect.mapError((error) => toAiError(error, { module: "LlmProvider", method: methodOf(options) }))
      ),
    streamText: (options) =>
      Stream.unwrap(Effect.map(bridge.request(options), provider.stream)).pipe(
        Stream.mapArrayEffect((parts) => Effect.forEach(parts, (part) => bridge.answered(part, options))),
        Stream.mapError((error) => toAiError(error, { module: "LlmProvider", method: "streamText" }))
      )
  })
}

const methodOf = (options: LanguageModel.ProviderOptions) =>
  options.responseFormat.type === "json" ? "generateObject" : "generateText"

/** A tool as the provider sees it, and the way back of the arguments that the model wrote for it. */
interface Declared {
  readonly tool: LlmRequest.Tool
  readonly args: (params: unknown) => Effect.Effect<unknown>
}

/** Remembers what a schema becomes for this provider: making it costs as much as all the rest of the bridge. */
class Bridge {
  readonly transform: LanguageModel.CodecTransformer
  private readonly provider: Service
  private readonly declared = new WeakMap<Tool.Any, Declared>()

  constructor(provider: Service) {
    this.provider = provider
    this.transform = memoized(provider.codecTransformer ?? LanguageModel.defaultCodecTransformer)
  }

  request(options: LanguageModel.ProviderOptions): Effect.Effect<LlmRequest.LlmRequest, LlmError> {
    return Effect.try({
      try: () => ({ prompt: options.prompt, ...this.toolsOf(options), ...this.formatOf(options) }),
      catch: (cause) => (isReason(cause) ? cause : unsupportedSchema(cause))
    }).pipe(
      Effect.flatMap(LlmRequest.make),
      Effect.mapError((reason) => this.fail(reason, "refused"))
    )
  }

  private toolsOf({ toolChoice, tools }: LanguageModel.ProviderOptions) {
    return tools.length === 0 ? {} : { toolChoice, tools: tools.map((tool, i) => this.declareTool(tool, i).tool) }
  }

  private formatOf({ responseFormat }: LanguageModel.ProviderOptions) {
    if (responseFormat.type === "text") return {}
    const { objectName: name, schema } = responseFormat
    return { responseFormat: { type: "json", name, schema: this.transform(schema).jsonSchema } as const }
  }

  private declareTool(tool: Tool.Any, index: number): Declared {
    const known = this.declared.get(tool)
    if (known !== undefined) return known
    if (Tool.isProviderDefined(tool)) {
      throw new AiError.InvalidRequestError({
        parameter: `tools[${index}]`,
        constraint: `must not be defined by a provider (${tool.name}): a request holds tools with a JSON Schema only`
      })
    }
    const declared = this.describe(tool)
    this.declared.set(tool, declared)
    return declared
  }

  private describe(tool: Tool.Any): Declared {
    const strict = Tool.getStrictMode(tool)
    const about = { name: tool.name, description: Tool.getDescription(tool), strict }
    if (Tool.isDynamic(tool) && tool.jsonSchema !== undefined) {
      return { tool: { ...about, parameters: tool.jsonSchema }, args: Effect.succeed }
    }
    const schema: AnyCodec = tool.parametersSchema
    // a tool that is not strict keeps its own schema: the way out where the provider's form is too narrow for it
    const { codec, jsonSchema } = (strict === false ? LanguageModel.defaultCodecTransformer : this.transform)(schema)
    return {
      tool: { ...about, parameters: jsonSchema },
      args: codec === schema ? Effect.succeed : recode(codec, schema)
    }
  }

  /** A part as the caller's tools expect it: arguments in their own encoding, no call to a tool they do not have. */
  answered<Part extends Response.PartEncoded | Response.StreamPartEncoded>(
    part: Part,
    options: LanguageModel.ProviderOptions
  ): Effect.Effect<Part, LlmError> {
    return isToolCall(part) ? this.called(part, options) : Effect.succeed(part)
  }

  private called<Call extends Response.ToolCallPartEncoded>(
    call: Call,
    options: LanguageModel.ProviderOptions
  ): Effect.Effect<Call, LlmError> {
    const tool = options.tools.find((tool) => tool.name === call.name)
    const args = tool && this.declared.get(tool)?.args
    if (args !== undefined) return Effect.map(args(call.params), (params) => ({ ...call, params }))
    if (call.providerExecuted === true || options.toolCallValidation === "deferred") return Effect.succeed(call)
    return Effect.fail(
      this.fail(
        new AiError.ToolNotFoundError({
          toolName: call.name.slice(0, longestName),
          availableTools: options.tools.map((tool) => tool.name)
        }),
        "answered"
      )
    )
  }

  private fail(reason: AiError.AiErrorReason, phase: Phase): LlmError {
    const { model, provider } = this.provider
    return new LlmError({ provider, model, reason, phase })
  }
}

/** A name that the model made up is part of its answer: no more of it than a real name could have. */
const longestName = 64

type AnyCodec = Schema.ConstraintCodec<unknown, unknown, unknown, unknown>

/**
 * The model's arguments, written the provider's way, as the tool's own schema encodes them. What does not fit is handed
 * on as it is: the toolkit refuses it by the tool's `failureMode`.
 */
const recode = (from: AnyCodec, to: AnyCodec) => {
  const decode = Schema.decodeUnknownEffect(from)
  const encode = Schema.encodeUnknownEffect(to)
  return (params: unknown) =>
    decode(params).pipe(
      Effect.flatMap(encode),
      Effect.orElseSucceed(() => params)
    ) as Effect.Effect<unknown> // the services of a tool's schema are asked of whoever calls with the tool
}

const isToolCall = <Part extends { readonly type: string }>(
  part: Part
): part is Extract<Part, { readonly type: "tool-call" }> => part.type === "tool-call"

const memoized = (transform: LanguageModel.CodecTransformer): LanguageModel.CodecTransformer => {
  const seen = new WeakMap<object, ReturnType<LanguageModel.CodecTransformer>>()
  return <T, E, RD, RE>(schema: Schema.ConstraintCodec<T, E, RD, RE>) => {
    const known = seen.get(schema) ?? transform(schema)
    seen.set(schema, known)
    return known as ReturnType<typeof transform<T, E, RD, RE>> // stored under the very schema that it was made of
  }
}

const isReason = (u: unknown): u is AiError.InvalidRequestError => u instanceof AiError.InvalidRequestError

const unsupportedSchema = (cause: unknown) =>
  new AiError.UnsupportedSchemaError({ description: cause instanceof Error ? cause.message : String(cause) })
