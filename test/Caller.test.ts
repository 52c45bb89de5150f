import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import * as Caller from "effect-ballast/Caller"

describe("Caller", () => {
  it.effect("is nobody unless somebody says so", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual(yield* Caller.Caller, {})
    })
  )

  it.effect("an inner scope adds to what the outer one set", () =>
    Effect.gen(function* () {
      const seen = yield* Caller.Caller.pipe(Caller.provide({ feature: "search" }), Caller.provide({ tenant: "acme" }))
      assert.deepStrictEqual(seen, { tenant: "acme", feature: "search" })
    })
  )

  it.effect("reaches fibers that are forked inside the scope", () =>
    Effect.gen(function* () {
      const [seen] = yield* Effect.all([Caller.Caller], { concurrency: 2 }).pipe(Caller.provide({ tenant: "acme" }))
      assert.strictEqual(seen.tenant, "acme")
    })
  )

  it.effect("provideStream holds wherever the stream runs", () =>
    Effect.gen(function* () {
      const stream = Stream.fromEffect(Caller.Caller).pipe(Caller.provideStream({ tenant: "acme" }))
      assert.deepStrictEqual(yield* Stream.runCollect(stream), [{ tenant: "acme" }])
    })
  )

  it.effect("required fails with what to do where no tenant is set", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Caller.required)
      assert.strictEqual(error._tag, "TenantMissing")
      assert.match(error.message, /Caller\.provide\(\{ tenant \}\)/)
      assert.strictEqual((yield* Caller.required.pipe(Caller.provide({ tenant: "" }))).tenant, "")
    })
  )
})
