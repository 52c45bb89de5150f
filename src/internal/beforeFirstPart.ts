/**
 * One policy for both methods, where it only concerns what comes before the first visible part: an attempt is then an
 * effect, of a whole answer or of a stream that has begun. Parts that nobody would notice are held back until then, so
 * that a second attempt leaves no trace of the first.
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Pull from "effect/Pull"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { LlmError } from "../LlmError.ts"
import type { Service } from "../LlmProvider.ts"
import type { LlmRequest } from "../LlmRequest.ts"
import { isVisible, type LlmPart } from "../LlmResponse.ts"

export type Parts = readonly [LlmPart, ...Array<LlmPart>]

/** A stream whose first visible part, or finish part, has arrived. */
export interface Begun {
  readonly provider: Service
  readonly head: ReadonlyArray<LlmPart>
  readonly pull: Pull.Pull<Parts, LlmError>
  readonly scope: Scope.Closeable
}

/** How the answer of an attempt is thrown away when another one is taken. */
export type Discard<A> = (answer: A) => Effect.Effect<void>

export interface Policy {
  <A>(attempt: (provider: Service) => Effect.Effect<A, LlmError>, discard: Discard<A>): Effect.Effect<A, LlmError>
}

export const beforeFirstPart = (
  identity: Service,
  policy: Policy,
  /** What becomes of a stream that has begun; by default it goes on as it is. */
  continued: (begun: Begun, request: LlmRequest, scope: Scope.Scope) => Pull.Pull<Parts, LlmError> = goOn
): Service => ({
  ...identity,
  generate: (request) => policy((provider) => provider.generate(request), keep),
  stream: (request) =>
    Stream.scoped(
      Stream.fromPull(
        Effect.map(Effect.scope, (scope) => {
          let pull: Pull.Pull<Parts, LlmError> | undefined
          const first = policy((provider) => begin(provider, request, scope), close)
          return Effect.suspend(
            () => pull ?? Effect.flatMap(first, (begun) => (pull = continued(begun, request, scope)))
          )
        })
      )
    )
})

const keep = () => Effect.void

const close = (begun: Begun) => Scope.close(begun.scope, Exit.void)

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

/** Opens a stream in a scope of its own, which ends with the outer one, and pulls until something is to be seen. */
export const begin = (provider: Service, request: LlmRequest, outer: Scope.Scope): Effect.Effect<Begun, LlmError> =>
  Effect.flatMap(Scope.fork(outer), (scope) => {
    const head: Array<LlmPart> = []
    const until = (pull: Pull.Pull<Parts, LlmError>): Pull.Pull<Begun, LlmError> =>
      Effect.flatMap(pull, (parts) => {
        head.push(...parts)
        const begun = parts.some((part) => isVisible(part) || part.type === "finish")
        return begun ? Effect.succeed({ provider, head, pull, scope }) : until(pull)
      })
    const opened = Effect.flatMap(Scope.provide(Stream.toPull(provider.stream(request)), scope), (pull) =>
      Pull.catchDone(until(pull), () => Effect.succeed({ provider, head, pull: Cause.done(), scope }))
    )
    return Effect.onExit(opened, (exit) => (Exit.isFailure(exit) ? Scope.close(scope, exit) : Effect.void))
  })
