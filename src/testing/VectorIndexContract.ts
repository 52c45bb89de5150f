/**
 * What every vector index promises, as cases that any test runner can run: each with an index of its own that holds a few
 * hundred items, and with the passing of time given as an effect, on the clock that the case runs with.
 */
import { type Case, type Env, searching } from "../internal/vectorContract.ts"
import { items } from "../internal/vectorContractItems.ts"

export type { Case, Env }

/** All of them. */
export const cases: ReadonlyArray<Case> = [...searching, ...items]
