/** Compiled by `npm run check`: what the types of the stack promise. */
import { Config, Layer } from "effect"
import { expectTypeOf } from "vitest"
import type * as LlmProvider from "effect-ballast/LlmProvider"
import * as Resilient from "effect-ballast/Resilient"

declare const first: Layer.Layer<LlmProvider.LlmProvider, "first-error", "first-service">
declare const second: Layer.Layer<LlmProvider.LlmProvider, never, "second-service">

// errors and needs are those of the providers, as a plain union
expectTypeOf(Resilient.layer({ providers: [first, second], retry: { times: 4 } })).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider, "first-error", "first-service" | "second-service">
>()

expectTypeOf(Resilient.layerConfig({ providers: [second], retry: { times: Config.Int("RETRIES") } })).toEqualTypeOf<
  Layer.Layer<LlmProvider.LlmProvider, Config.ConfigError, "second-service">
>()

// an absent slot may be undefined
Resilient.layer({ providers: [second], retry: undefined })

// @ts-expect-error: a misspelled slot
Resilient.layer({ providers: [second], retries: {} })

// @ts-expect-error: a misspelled option in a slot
Resilient.layer({ providers: [second], retry: { time: 4 } })

// @ts-expect-error: no providers
Resilient.layer({ providers: [] })

// @ts-expect-error: no list of providers
Resilient.layer({ retry: {} })

// @ts-expect-error: a layer of something else
Resilient.layer({ providers: [Layer.empty] })

// @ts-expect-error: a misspelled slot is not configured either
Resilient.layerConfig({ providers: [second], retries: {} })
