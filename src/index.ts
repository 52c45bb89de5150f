/** Everything that needs no optional package; the Node-only modules are imported by their own path. */
export * as Caller from "./Caller.ts"
export * as Degrade from "./Degrade.ts"
export * as LlmError from "./LlmError.ts"
export * as LlmProvider from "./LlmProvider.ts"
export * as LlmRequest from "./LlmRequest.ts"
export * as LlmResponse from "./LlmResponse.ts"
