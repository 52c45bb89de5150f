/**
 * What every quota store promises, as cases that any test runner can run: each with a store of its own, and with the passing
 * of time given as an effect. The store's own clock may go on by up to two seconds while a case runs.
 */
import type { Case, Env } from "../internal/quotaContract.ts"
import { leases } from "../internal/quotaContractLeases.ts"
import { limits } from "../internal/quotaContractLimits.ts"

export type { Case, Env }

export const cases: ReadonlyArray<Case> = [...limits, ...leases]
