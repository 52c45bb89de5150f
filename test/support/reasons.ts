/** One error for every row of the table of reasons. */
import { Duration } from "effect"
import { AiError } from "effect/ai"
import * as LlmError from "effect-ballast/LlmError"

type Row = keyof typeof LlmError.consequences

const tool = { toolName: "search", description: "wrong" }
const after = Duration.seconds(1)
const network = new AiError.NetworkError({ reason: "TransportError", method: "POST", url: "https://a.example" })
const internal = new AiError.InternalProviderError({ description: "boom" })

const reasons: Record<Row, LlmError.Reason> = {
  RateLimitError: new AiError.RateLimitError({}),
  QuotaExhaustedError: new AiError.QuotaExhaustedError({}),
  AuthenticationError: new AiError.AuthenticationError({ kind: "InvalidKey" }),
  "AuthenticationError/InsufficientPermissions": new AiError.AuthenticationError({ kind: "InsufficientPermissions" }),
  ModelUnavailable: new LlmError.ModelUnavailable({}),
  ContextOverflow: new LlmError.ContextOverflow({ limit: 100 }),
  InvalidRequestError: new AiError.InvalidRequestError({}),
  ContentPolicyError: new AiError.ContentPolicyError({ description: "no" }),
  InternalProviderError: internal,
  "InternalProviderError/answered": internal,
  NetworkError: network,
  "NetworkError/connecting": network,
  TimedOut: new LlmError.TimedOut({ phase: "firstPart", after }),
  "TimedOut/total": new LlmError.TimedOut({ phase: "total", after }),
  StreamInterrupted: new LlmError.StreamInterrupted({ interruptedBy: "NetworkError", delivered: [] }),
  InvalidOutputError: new AiError.InvalidOutputError({ description: "no JSON" }),
  StructuredOutputError: new AiError.StructuredOutputError({ description: "no JSON", responseText: "" }),
  UnknownError: new AiError.UnknownError({}),
  InvalidResponseError: new AiError.InvalidResponseError({ description: "no JSON" }),
  CircuitOpen: new LlmError.CircuitOpen({ circuit: "a" }),
  RateLimitExceeded: new LlmError.RateLimitExceeded({ limit: "rpm", why: "queue-full" }),
  StoreUnavailable: new LlmError.StoreUnavailable({ store: "redis", operation: "reserve" }),
  BudgetExceeded: new LlmError.BudgetExceeded({ budget: "all", window: "day", limit: 2, remaining: 0, requested: 1 }),
  "BudgetExceeded/final": new LlmError.BudgetExceeded({
    budget: "all",
    window: "day",
    limit: 2,
    remaining: 0,
    requested: 1,
    final: true
  }),
  Unpriced: new LlmError.Unpriced({}),
  InputRejected: new LlmError.InputRejected({ guard: "length", description: "too long" }),
  OutputRejected: new LlmError.OutputRejected({ guard: "keys", description: "a key", released: false }),
  UnsupportedSchemaError: new AiError.UnsupportedSchemaError({ description: "recursive" }),
  InvalidUserInputError: new AiError.InvalidUserInputError({ description: "empty" }),
  ToolNotFoundError: new AiError.ToolNotFoundError({ toolName: "search", availableTools: [] }),
  ToolParameterValidationError: new AiError.ToolParameterValidationError(tool),
  InvalidToolResultError: new AiError.InvalidToolResultError(tool),
  ToolResultEncodingError: new AiError.ToolResultEncodingError({ ...tool, toolResult: null }),
  ToolConfigurationError: new AiError.ToolConfigurationError(tool),
  ToolkitRequiredError: new AiError.ToolkitRequiredError({ pendingApprovals: [] })
}

const phases: Partial<Record<Row, LlmError.Phase>> = {
  "InternalProviderError/answered": "answered",
  "NetworkError/connecting": "connecting",
  CircuitOpen: "refused",
  RateLimitExceeded: "refused",
  StoreUnavailable: "refused",
  BudgetExceeded: "refused",
  "BudgetExceeded/final": "refused",
  Unpriced: "refused",
  InputRejected: "refused"
}

export const rows = Object.keys(LlmError.consequences) as ReadonlyArray<Row> // the keys of a literal

export const errorOf = (row: Row, provider = "first"): LlmError.LlmError =>
  new LlmError.LlmError({ provider, model: "test-model", reason: reasons[row], phase: phases[row] ?? "sent" })
