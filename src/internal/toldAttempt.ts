/** An attempt without gates and without a span: nothing is taken or given back, all there is to do is to tell of it. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Attempts from "../Attempts.ts"
import type { LlmError } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import type { LlmResponse } from "../LlmResponse.ts"
import type * as Receipt from "../Receipt.ts"
import { ending, flawOf } from "./ending.ts"
import { countOf } from "./fields.ts"

export const told = (
  fiber: Fiber.Fiber<unknown, unknown>,
  provider: Service,
  request: LlmRequest,
  receipt: Receipt.Open
): Effect.Effect<LlmResponse, LlmError> => {
  const { context } = fiber
  const { clock } = receipt
  const startedAt = clock.currentTimeMillisUnsafe()
  return Effect.onExitPrimitive(provider.generate(request), (exit) => {
    const answer = Exit.isSuccess(exit) ? exit.value : undefined
    const finish = answer?.finish
    const flaw = answer === undefined ? undefined : flawOf(provider, answer, finish)
    // a failure here becomes that of the call
    const failed = flaw === undefined ? undefined : Exit.fail(flaw)
    const ended = failed === undefined && answer !== undefined ? undefined : ending(failed ?? exit, undefined, true)
    const usage = ended === undefined ? finish?.usage : ended.usage
    receipt.ended(
      {
        provider: provider.provider,
        model: provider.model,
        startedAt,
        waited: 0,
        latency: ended?.phase === "refused" ? 0 : clock.currentTimeMillisUnsafe() - startedAt,
        firstPart: undefined,
        outcome: ended?.outcome ?? "success",
        reason: ended?.error?.reason._tag,
        inputTokens: countOf(usage?.inputTokens.total),
        outputTokens: countOf(usage?.outputTokens.total),
        cost: undefined,
        reserved: undefined,
        lostRace: Context.get(context, Attempts.Race)?.lost === true
      },
      undefined
    )
    return failed
  })
}
