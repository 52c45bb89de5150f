import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Latch } from "effect"
import { Batches } from "../src/internal/batches.ts"

const fork = <A, E>(self: Effect.Effect<A, E>) => Effect.forkChild(self, { startImmediately: true })

/** Batches that are answered when the test says so, and what was in each of them. */
const batches = Effect.gen(function* () {
  const sent: Array<ReadonlyArray<number>> = []
  const release = yield* Latch.make()
  const box = new Batches<number, string, string>((questions) => {
    sent.push(questions)
    return Effect.as(
      release.await,
      questions.map((question) => `answer ${question}`)
    )
  })
  return { box, sent, release }
})

describe("batches", () => {
  it.effect("send the first questions alone and those that come meanwhile as one, and answer each with its own", () =>
    Effect.gen(function* () {
      const { box, release, sent } = yield* batches
      const fibers = yield* Effect.forEach([1, 2, 3, 4, 5], (question) => fork(box.ask(question)))
      assert.deepStrictEqual(sent, [[1], [2]])
      yield* release.open
      const answers = yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(
        answers,
        [1, 2, 3, 4, 5].map((question) => `answer ${question}`)
      )
      assert.deepStrictEqual(sent, [[1], [2], [3, 4, 5]])
    })
  )

  it.effect("carry no more than 128 questions each", () =>
    Effect.gen(function* () {
      const { box, release, sent } = yield* batches
      const fibers = yield* Effect.forEach(Array(302).keys(), (question) => fork(box.ask(question)))
      yield* release.open
      yield* Effect.forEach(fibers, Fiber.join)
      assert.deepStrictEqual(
        sent.map(({ length }) => length),
        [1, 1, 128, 128, 44]
      )
    })
  )

  it.effect("do not ask for who left before they went", () =>
    Effect.gen(function* () {
      const { box, release, sent } = yield* batches
      const fibers = yield* Effect.forEach([1, 2, 3, 4], (question) => fork(box.ask(question)))
      for (const i of [0, 2]) yield* Fiber.interrupt(fibers[i] ?? assert.fail())
      yield* release.open
      yield* Fiber.join(fibers[3] ?? assert.fail())
      assert.deepStrictEqual(sent, [[1], [2], [4]])
    })
  )

  it.effect("fail all of their questions, and go on", () =>
    Effect.gen(function* () {
      let down = true
      const box = new Batches<number, number, string>((questions) =>
        Effect.andThen(
          Effect.yieldNow,
          Effect.suspend(() => (down ? Effect.fail("down") : Effect.succeed(questions)))
        )
      )
      const exits = yield* Effect.all(
        [1, 2, 3, 4].map((question) => Effect.exit(box.ask(question))),
        {
          concurrency: "unbounded"
        }
      )
      for (const exit of exits) assert.deepStrictEqual(exit, Exit.fail("down"))
      down = false
      assert.strictEqual(yield* box.ask(5), 5)
    })
  )
})
