/** Circuits in a store against a model that keeps all that ever happened and derives what is true now from it. */
import { describe } from "@effect/vitest"
import { CircuitBreakerStore } from "effect-ballast"
import { agrees } from "./support/circuitModel.ts"

describe("circuits in memory", () => {
  agrees(CircuitBreakerStore.makeMemory, { runs: 400 })
})
