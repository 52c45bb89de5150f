/** Compiled by `npm run check`: what the types of errors promise. */
import { Effect, type Layer } from "effect"
import type { AiError } from "effect/ai"
import { expectTypeOf } from "vitest"
import type * as LlmError from "effect-ballast/LlmError"
import * as LlmProvider from "effect-ballast/LlmProvider"

const call = LlmProvider.generateText("hi")

expectTypeOf(call).toEqualTypeOf<Effect.Effect<string, LlmError.LlmError, LlmProvider.LlmProvider>>()

// every reason can be caught by its name, and the handler sees its own fields
call.pipe(
  Effect.catchReason("LlmError", "BudgetExceeded", (reason, error) => {
    expectTypeOf(reason).toEqualTypeOf<LlmError.BudgetExceeded>()
    expectTypeOf(error).toExtend<LlmError.LlmError>()
    return Effect.succeed(reason.budget)
  })
)

type ReasonOf<Tag extends LlmError.Reason["_tag"]> = Extract<LlmError.Reason, { readonly _tag: Tag }>

declare const narrowed: <Tag extends LlmError.Reason["_tag"]>(tag: Tag) => ReasonOf<Tag>

expectTypeOf(narrowed("CircuitOpen")).toEqualTypeOf<LlmError.CircuitOpen>()
expectTypeOf(narrowed("RateLimitError")).toEqualTypeOf<AiError.RateLimitError>()

call.pipe(
  Effect.catchReasons("LlmError", {
    RateLimitError: (reason) => Effect.succeed(reason satisfies AiError.RateLimitError),
    QuotaExhaustedError: (reason) => Effect.succeed(reason satisfies AiError.QuotaExhaustedError),
    AuthenticationError: (reason) => Effect.succeed(reason satisfies AiError.AuthenticationError),
    ContentPolicyError: (reason) => Effect.succeed(reason satisfies AiError.ContentPolicyError),
    InvalidRequestError: (reason) => Effect.succeed(reason satisfies AiError.InvalidRequestError),
    InternalProviderError: (reason) => Effect.succeed(reason satisfies AiError.InternalProviderError),
    NetworkError: (reason) => Effect.succeed(reason satisfies AiError.NetworkError),
    InvalidOutputError: (reason) => Effect.succeed(reason satisfies AiError.InvalidOutputError),
    InvalidResponseError: (reason) => Effect.succeed(reason satisfies AiError.InvalidResponseError),
    StructuredOutputError: (reason) => Effect.succeed(reason satisfies AiError.StructuredOutputError),
    UnsupportedSchemaError: (reason) => Effect.succeed(reason satisfies AiError.UnsupportedSchemaError),
    UnknownError: (reason) => Effect.succeed(reason satisfies AiError.UnknownError),
    ToolNotFoundError: (reason) => Effect.succeed(reason satisfies AiError.ToolNotFoundError),
    ToolParameterValidationError: (reason) => Effect.succeed(reason satisfies AiError.ToolParameterValidationError),
    InvalidToolResultError: (reason) => Effect.succeed(reason satisfies AiError.InvalidToolResultError),
    ToolResultEncodingError: (reason) => Effect.succeed(reason satisfies AiError.ToolResultEncodingError),
    ToolConfigurationError: (reason) => Effect.succeed(reason satisfies AiError.ToolConfigurationError),
    ToolkitRequiredError: (reason) => Effect.succeed(reason satisfies AiError.ToolkitRequiredError),
    InvalidUserInputError: (reason) => Effect.succeed(reason satisfies AiError.InvalidUserInputError),
    ModelUnavailable: (reason) => Effect.succeed(reason satisfies LlmError.ModelUnavailable),
    ContextOverflow: (reason) => Effect.succeed(reason satisfies LlmError.ContextOverflow),
    CircuitOpen: (reason) => Effect.succeed(reason satisfies LlmError.CircuitOpen),
    RateLimitExceeded: (reason) => Effect.succeed(reason satisfies LlmError.RateLimitExceeded),
    BudgetExceeded: (reason) => Effect.succeed(reason satisfies LlmError.BudgetExceeded),
    Unpriced: (reason) => Effect.succeed(reason satisfies LlmError.Unpriced),
    InputRejected: (reason) => Effect.succeed(reason satisfies LlmError.InputRejected),
    OutputRejected: (reason) => Effect.succeed(reason satisfies LlmError.OutputRejected),
    TimedOut: (reason) => Effect.succeed(reason satisfies LlmError.TimedOut),
    StreamInterrupted: (reason) => Effect.succeed(reason satisfies LlmError.StreamInterrupted),
    StoreUnavailable: (reason) => Effect.succeed(reason satisfies LlmError.StoreUnavailable)
  })
)

// a reason that does not exist does not compile
// @ts-expect-error
call.pipe(Effect.catchReason("LlmError", "NoSuchReason", () => Effect.succeed("")))

// a policy over a layer keeps what the layer provides, and adds what the policy needs
declare const base: Layer.Layer<LlmProvider.LlmProvider, "base-error", "base-service">
declare const policy: Effect.Effect<LlmProvider.Service, "policy-error", "policy-service">
expectTypeOf(LlmProvider.transform(() => policy)(base)).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider, "base-error" | "policy-error", "base-service" | "policy-service">
>()
expectTypeOf(LlmProvider.transform((inner) => inner)(base)).toEqualTypeOf<typeof base>()
