import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Random } from "effect"
import { TestClock } from "effect/testing"
import { type Message, Outbox } from "../src/internal/outbox.ts"
import { logged } from "./support/gates.ts"

interface Note extends Message {
  readonly id: number
}

const note = (id: number, until = Infinity): Note => ({ id, until })

/** An outbox with its longest pauses, whose messages arrive where `works` says so, and the times of all attempts. */
const outbox = (works: (id: number) => boolean) =>
  Effect.gen(function* () {
    const told: Array<number> = []
    const attempts: Array<number> = []
    const send = ({ id }: Note) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        attempts.push(now)
        if (!works(id)) return Effect.fail("no answer")
        told.push(id)
        return Effect.void
      })
    return { box: new Outbox<Note>(yield* Effect.context(), send), told, attempts }
  }).pipe(Effect.provideService(Random.Random, { nextIntUnsafe: () => 1, nextDoubleUnsafe: () => 1 }))

describe("an outbox", () => {
  it.effect("waits twice as long after each failure, five seconds at most, and starts anew with the next outage", () =>
    Effect.gen(function* () {
      let up = false
      const { attempts, box, told } = yield* outbox(() => up)
      box.add(note(1))
      for (let i = 0; i < 250; i++) yield* TestClock.adjust("100 millis")
      assert.deepStrictEqual(attempts, [100, 300, 700, 1500, 3100, 6300, 11_300, 16_300, 21_300])
      up = true
      yield* TestClock.adjust("1300 millis")
      assert.deepStrictEqual(told, [1])
      assert.strictEqual(box.size, 0)
      box.add(note(2))
      yield* TestClock.adjust("99 millis")
      assert.deepStrictEqual(told, [1])
      yield* TestClock.adjust("1 millis")
      assert.deepStrictEqual(told, [1, 2])
    })
  )

  it.effect("sleeps only while there is something to tell", () =>
    Effect.gen(function* () {
      const { attempts, box } = yield* outbox(() => true)
      yield* TestClock.adjust("1 hour")
      box.add(note(1))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(attempts.length, 1)
    })
  )

  it.effect("lets no messages that can never be told keep the others, however many they are", () =>
    Effect.gen(function* () {
      const { box, told } = yield* outbox((id) => id >= 20)
      for (let id = 0; id < 24; id++) box.add(note(id))
      for (let i = 0; i < 200; i++) yield* TestClock.adjust("1 seconds")
      assert.sameMembers(told, [20, 21, 22, 23])
      assert.strictEqual(box.size, 20)
    })
  )

  it.effect("gives up what is of no use any more, and says so once", () =>
    Effect.gen(function* () {
      const { exit, lines } = yield* logged(
        Effect.gen(function* () {
          const { box, told } = yield* outbox(() => true)
          box.add(note(1, 99))
          box.add(note(2, 101))
          yield* TestClock.adjust("1 seconds")
          assert.deepStrictEqual(told, [2])
          assert.strictEqual(box.size, 0)
        })
      )
      yield* exit
      assert.deepStrictEqual(lines, ["1 settled reservations could not be told to the store and were given up"])
    })
  )

  it.effect("keeps the newest ten thousand", () =>
    Effect.gen(function* () {
      const { exit, lines } = yield* logged(
        Effect.gen(function* () {
          const { box, told } = yield* outbox(() => true)
          for (let id = 0; id < 10_003; id++) box.add(note(id))
          assert.strictEqual(box.size, 10_000)
          yield* TestClock.adjust("1 seconds")
          assert.deepStrictEqual([told.length, told[0], told.at(-1)], [10_000, 3, 10_002])
        })
      )
      yield* exit
      assert.deepStrictEqual(lines, ["3 settled reservations could not be told to the store and were given up"])
    })
  )

  it.effect("tries once more when it closes, and never again", () =>
    Effect.gen(function* () {
      let up = false
      const { attempts, box, told } = yield* outbox(() => up)
      for (const id of [1, 2]) box.add(note(id))
      yield* TestClock.adjust("100 millis")
      const before = attempts.length
      up = true
      yield* box.close
      assert.sameMembers(told, [1, 2])
      up = false
      box.add(note(3))
      yield* TestClock.adjust("1 minutes")
      assert.strictEqual(attempts.length, before + 2)
    })
  )
})
