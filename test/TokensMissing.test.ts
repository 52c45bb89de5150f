import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Layer } from "effect"
import * as Tokens from "effect-ballast/Tokens"
import { vi } from "vitest"

vi.mock("gpt-tokenizer/encoding/o200k_base", () => {
  throw new Error("Cannot find package 'gpt-tokenizer'")
})

describe("without the package gpt-tokenizer", () => {
  it.effect("Tokens can be imported and counts, and its exact layer dies with what to install", () =>
    Effect.gen(function* () {
      assert.isAbove((yield* Tokens.Tokens).count("What is ballast?"), 1)
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(Tokens.layerExact())))
      assert(Exit.isFailure(exit))
      assert.isTrue(Cause.hasDies(exit.cause))
      assert.include(
        Cause.pretty(exit.cause),
        "Tokens.layerExact needs the package gpt-tokenizer: npm install gpt-tokenizer"
      )
    })
  )
})
