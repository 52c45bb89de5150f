/** Structured output: schema to response format, answer back to value. */
import * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as SchemaAST from "effect/SchemaAST"
import * as SchemaIssue from "effect/SchemaIssue"
import * as AiError from "effect/ai/AiError"
import * as LanguageModel from "effect/ai/LanguageModel"
import { LlmError } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"

export const generate = <A, E, RD, RE>(
  provider: Service,
  request: LlmRequest,
  schema: Schema.ConstraintCodec<A, E, RD, RE>,
  name?: string
): Effect.Effect<A, LlmError, RD> => {
  const fail = (reason: AiError.AiErrorReason) =>
    Effect.fail(new LlmError({ provider: provider.provider, model: provider.model, reason, phase: "answered" }))
  return Effect.flatMap(transformed(provider, schema), ({ codec, jsonSchema }) =>
    Effect.flatMap(
      provider.generate({
        ...request,
        responseFormat: { type: "json", name: name ?? nameOf(schema) ?? "answer", schema: jsonSchema }
      }),
      (response) =>
        Effect.catchTag(Schema.decodeEffect(Schema.fromJsonString(codec))(response.text), "SchemaError", (error) =>
          fail(new AiError.InvalidOutputError({ description: describe(error.issue) }))
        )
    )
  )
}

const transformed = <A, E, RD, RE>(provider: Service, schema: Schema.ConstraintCodec<A, E, RD, RE>) =>
  Effect.try({
    try: () => (provider.codecTransformer ?? LanguageModel.defaultCodecTransformer)(schema),
    catch: (cause) =>
      new LlmError({
        provider: provider.provider,
        model: provider.model,
        phase: "refused",
        reason: new AiError.UnsupportedSchemaError({
          description: cause instanceof Error ? cause.message : String(cause)
        })
      })
  })

const nameOf = (schema: { readonly ast: SchemaAST.AST }): string | undefined => {
  const identifier = schema.ast.annotations?.["identifier"]
  return typeof identifier === "string" ? identifier.replaceAll(/[^\w-]/g, "_") : undefined
}

const formatIssue = SchemaIssue.makeFormatterStandardSchemaV1()

/** Where the answer does not fit, without the answer. */
const describe = (issue: SchemaIssue.Issue): string => {
  const paths = formatIssue(issue).issues.map((one) => (one.path ?? []).map(String).join(".") || "the answer itself")
  return `the answer does not fit the schema at: ${[...new Set(paths)].slice(0, 5).join(", ")}`
}
