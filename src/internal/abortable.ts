/** A stream over the async iterable of an SDK that never waits for a hung iterator: leaving aborts its signal at once. */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { LlmError } from "../LlmError.ts"

export const asyncStream = <A>(options: {
  readonly open: (signal: AbortSignal) => Promise<AsyncIterable<A>>
  readonly catch: (cause: unknown) => LlmError
  /** The longest one pull may take, opening included. */
  readonly idle: Duration.Duration
  readonly onIdle: () => LlmError
}): Stream.Stream<A, LlmError> => {
  const bounded = <B>(run: () => Promise<B>): Effect.Effect<B, LlmError> =>
    Effect.timeoutOrElse(Effect.tryPromise({ try: run, catch: options.catch }), {
      duration: options.idle,
      orElse: () => Effect.fail(options.onIdle())
    })
  const pull = Effect.gen(function* () {
    const controller = new AbortController()
    let iterator: AsyncIterator<A> | undefined
    yield* Scope.addFinalizer(
      yield* Effect.scope,
      Effect.sync(() => {
        controller.abort()
        // not awaited: an iterator that hangs would keep the program, and the signal has already freed its socket
        iterator?.return?.().catch(() => undefined)
      })
    )
    const next = async (): Promise<IteratorResult<A>> => {
      iterator ??= (await options.open(controller.signal))[Symbol.asyncIterator]()
      return iterator.next()
    }
    return Effect.flatMap(bounded(next), (result): Effect.Effect<readonly [A], LlmError | Cause.Done> =>
      result.done === true ? Cause.done() : Effect.succeed([result.value])
    )
  })
  return Stream.scoped(Stream.fromPull(pull))
}
