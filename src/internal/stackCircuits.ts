/** Which providers stand behind circuits of a store, so that a program can ask how all of them are. */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { CircuitBreakerStore, type Service, type Snapshot } from "../CircuitBreakerStore.ts"
import { endpointOf } from "./circuitGate.ts"

interface Provider {
  readonly provider: string
  readonly model: string
  readonly endpoint: string
}

/** A circuit of a store, and the provider it belongs to. */
export interface Circuit extends Snapshot {
  readonly of: "answers" | "embeddings"
  readonly provider: string
  readonly model: string
}

const known = new WeakMap<Service, Map<Provider, Circuit["of"]>>()

/** For as long as the scope lives. */
export const show = (
  of: Circuit["of"],
  providers: ReadonlyArray<Provider>
): Effect.Effect<void, never, CircuitBreakerStore | Scope.Scope> =>
  Effect.flatMap(CircuitBreakerStore, (store) => {
    const shown = known.get(store) ?? new Map()
    known.set(store, shown)
    const take = Effect.sync(() => providers.forEach((provider) => shown.set(provider, of)))
    return Effect.acquireRelease(take, () => Effect.sync(() => providers.forEach((provider) => shown.delete(provider))))
  })

/** Two providers of one circuit are one. */
export const all: Effect.Effect<ReadonlyArray<Circuit>, never, CircuitBreakerStore> = Effect.flatMap(
  CircuitBreakerStore,
  (store) => {
    const providers = new Map(Array.from(known.get(store) ?? [], (entry) => [endpointOf(entry[0]), entry]))
    return Effect.forEach(providers, ([circuit, [{ model, provider }, of]]) =>
      Effect.map(store.read(circuit), (snapshot) => ({ of, provider, model, ...snapshot }))
    )
  }
)
