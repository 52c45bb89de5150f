/**
 * What every cache store promises, as cases that any test runner can run: each with a store of its own that holds a few
 * megabytes, and with the passing of time given as an effect, on the clock that the case runs with.
 */
import { type Case, type Env, entries } from "../internal/cacheContract.ts"
import { partitions } from "../internal/cacheContractPartitions.ts"
import { values } from "../internal/cacheContractValues.ts"

export type { Case, Env }

/** All of them. */
export const cases: ReadonlyArray<Case> = [...entries, ...partitions, ...values]
