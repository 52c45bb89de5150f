import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Redacted } from "effect"
import * as OpenAi from "effect-ballast/OpenAi"
import { vi } from "vitest"

vi.mock("openai", () => {
  throw new Error("Cannot find package 'openai'")
})

describe("without the package openai", () => {
  it.effect("OpenAi can be imported, and dies with what to install when it is made", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(OpenAi.make({ model: "m", apiKey: Redacted.make("k") }))
      assert(Exit.isFailure(exit))
      assert.isTrue(Cause.hasDies(exit.cause))
      assert.include(Cause.pretty(exit.cause), "OpenAi needs the package openai: npm install openai")
    })
  )
})
