/** Compiled by `npm run check`: what the types of the bridges promise. */
import { type Effect, Layer } from "effect"
import type { LanguageModel } from "effect/ai"
import { expectTypeOf } from "vitest"
import * as LlmProvider from "effect-ballast/LlmProvider"

type Model = LanguageModel.LanguageModel

// one layer makes a program over effect/ai run on a provider, and cannot fail itself
expectTypeOf(LlmProvider.languageModel).toEqualTypeOf<Layer.Layer<Model, never, LlmProvider.LlmProvider>>()

declare const provider: Layer.Layer<LlmProvider.LlmProvider, "provider-error">
expectTypeOf(LlmProvider.languageModel.pipe(Layer.provide(provider))).toEqualTypeOf<
  Layer.Layer<Model, "provider-error">
>()

const names = { provider: "google", model: "gemini" }
expectTypeOf(LlmProvider.fromLanguageModel(names)).toEqualTypeOf<Layer.Layer<LlmProvider.LlmProvider, never, Model>>()

declare const service: LlmProvider.Service
expectTypeOf(LlmProvider.toLanguageModel(service)).toEqualTypeOf<Effect.Effect<Model>>()

// a provider without a name of its model does not compile
// @ts-expect-error
LlmProvider.fromLanguageModel({ provider: "google" })
