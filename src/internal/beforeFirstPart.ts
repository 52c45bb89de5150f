/**
 * One policy for both methods, where it only concerns what comes before the first visible part: an attempt is then an
 * effect, of a whole answer or of a stream that has begun. Parts that nobody would notice are held back until then, so
 * that a second attempt leaves no trace of the first.
 */
import * as Channel from "effect/Channel"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as AiError from "effect/ai/AiError"
import * as Attempts from "../Attempts.ts"
import { LlmError } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { isVisible, type LlmPart, type LlmResponse } from "../LlmResponse.ts"

export type Parts = readonly [LlmPart, ...Array<LlmPart>]

/** A stream whose first visible part, or finish part, has arrived. */
export interface Begun {
  readonly provider: Service
  readonly head: ReadonlyArray<LlmPart>
  readonly pull: Pull.Pull<Parts, LlmError>
  readonly scope: Scope.Closeable
  /** The ledger of the call, which its later pulls do not see. */
  readonly ledger: Attempts.Ledger | undefined
}

/** An attempt in a fiber of its own, which may be left behind at any moment: `close` ends all that it has opened. */
export interface Branch<A> {
  readonly run: Effect.Effect<A, LlmError>
  readonly close: Effect.Effect<void>
}

/** One call of a method, which a policy may attempt at any provider. */
export interface Attempting<A> {
  readonly method: "generate" | "stream"
  readonly run: (provider: Service) => Effect.Effect<A, LlmError>
  readonly branch: (provider: Service) => Branch<A>
}

export interface Policy {
  <A>(attempting: Attempting<A>): Effect.Effect<A, LlmError>
}

export const beforeFirstPart = (
  identity: Service,
  policy: Policy,
  /** What becomes of a stream that has begun; by default it goes on as it is. */
  continued: (begun: Begun, request: LlmRequest, scope: Scope.Scope) => Pull.Pull<Parts, LlmError> = goOn
): Service => ({
  ...identity,
  generate: (request) => policy(new Whole(request)),
  stream: (request) =>
    Stream.fromChannel(
      Channel.fromTransformBracket((_upstream, _outer, scope) =>
        Effect.sync(() => {
          let pull: Pull.Pull<Parts, LlmError> | undefined
          const first = policy(streaming(request, scope))
          return Effect.suspend(
            () => pull ?? Effect.flatMap(first, (begun) => (pull = continued(begun, request, scope)))
          )
        })
      )
    )
})

/** A class, since every call makes one. */
class Whole implements Attempting<LlmResponse> {
  readonly method = "generate"
  private readonly request: LlmRequest

  constructor(request: LlmRequest) {
    this.request = request
  }

  run(provider: Service): Effect.Effect<LlmResponse, LlmError> {
    return provider.generate(this.request)
  }

  branch(provider: Service): Branch<LlmResponse> {
    return { run: provider.generate(this.request), close: Effect.void }
  }
}

const streaming = (request: LlmRequest, scope: Scope.Scope): Attempting<Begun> => ({
  method: "stream",
  run: (provider) => Effect.suspend(() => begin(provider, request, Scope.forkUnsafe(scope))),
  branch: (provider) => {
    const own = Scope.forkUnsafe(scope)
    return { run: begin(provider, request, own), close: Scope.close(own, Exit.void) }
  }
})

/** The parts that were held back, then the rest. */
export const goOn = (begun: Begun): Pull.Pull<Parts, LlmError> => {
  let [first, ...rest] = begun.head
  return Effect.suspend(() => {
    if (first === undefined) return begun.pull
    const head: Parts = [first, ...rest]
    first = undefined
    rest = []
    return Effect.succeed(head)
  })
}

/** Opens a stream in a scope, which is closed if it fails, and pulls until something is to be seen. */
export const begin = (provider: Service, request: LlmRequest, scope: Scope.Closeable): Effect.Effect<Begun, LlmError> =>
  Effect.withFiber((fiber) => {
    const ledger = fiber.getRef(Attempts.Current)
    const head: Array<LlmPart> = []
    const until = (pull: Pull.Pull<Parts, LlmError>): Pull.Pull<Begun, LlmError> =>
      Effect.flatMap(pull, (parts) => {
        for (const part of parts) head.push(part)
        const begun = parts.some((part) => isVisible(part) || part.type === "finish")
        return begun ? Effect.succeed({ provider, head, pull, scope, ledger }) : until(pull)
      })
    const opened = Effect.flatMap(Channel.toPullScoped(provider.stream(request).channel, scope), (pull) =>
      Pull.catchDone(until(pull), () => Effect.fail(cutOff(provider)))
    )
    return Effect.onExit(opened, (exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void))
  })

/** A stream that just ends is no answer. */
export const cutOff = ({ model, provider }: Service): LlmError => {
  const reason = new AiError.InternalProviderError({ description: "the stream ended without a finish part" })
  return new LlmError({ provider, model, reason, phase: "answered" })
}
