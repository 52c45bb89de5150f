/**
 * Puts questions together that are asked while others are on their way: a few go at once, the next ones wait until one of
 * those is answered and then go as one. Who is alone never waits.
 */
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"

/** How many are on their way at the same time, and how many questions one of them carries at most. */
const width = 2
const most = 128

interface Waiting<Q, A, E> {
  readonly question: Q
  readonly context: Context.Context<never>
  readonly resume: (answer: Effect.Effect<A, E>) => void
}

export class Batches<Q, A, E> {
  /** Answers each question, in their order, and ends by itself within a while. */
  private readonly send: (questions: ReadonlyArray<Q>) => Effect.Effect<ReadonlyArray<A>, E>
  /** In the order in which they came. */
  private readonly waiting = new Set<Waiting<Q, A, E>>()
  private sent = 0

  constructor(send: (questions: ReadonlyArray<Q>) => Effect.Effect<ReadonlyArray<A>, E>) {
    this.send = send
  }

  /** Interrupted before it was sent, it is not asked; after that, nobody hears the answer. */
  ask(question: Q): Effect.Effect<A, E> {
    return Effect.withFiber((fiber) =>
      Effect.callback<A, E>((resume) => {
        const one = { question, context: fiber.context, resume }
        this.waiting.add(one)
        if (this.sent < width) this.flush(one.context)
        return Effect.sync(() => this.waiting.delete(one))
      })
    )
  }

  private flush(context: Context.Context<never>): void {
    const batch: Array<Waiting<Q, A, E>> = []
    for (const one of this.waiting) {
      if (batch.length === most) break
      this.waiting.delete(one)
      batch.push(one)
    }
    this.sent++
    const fiber = Effect.runForkWith(context)(this.send(batch.map(({ question }) => question)))
    fiber.addObserver((exit) => {
      this.sent--
      const [next] = this.waiting
      if (next !== undefined) this.flush(next.context)
      for (const [i, { resume }] of batch.entries()) {
        if (Exit.isFailure(exit)) resume(Exit.failCause(exit.cause))
        else {
          const answer = exit.value[i]
          resume(
            answer === undefined
              ? Effect.die(new Error("a question of a batch was not answered"))
              : Exit.succeed(answer)
          )
        }
      }
    })
  }
}
