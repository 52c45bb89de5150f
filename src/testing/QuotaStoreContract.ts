/**
 * What every quota store promises, as cases that any test runner can run: each with a store of its own, and with the passing
 * of time given as an effect. The store's own clock may go on by up to two seconds while a case runs.
 */
import type { Case, Env } from "../internal/quotaContract.ts"
import { leases } from "../internal/quotaContractLeases.ts"
import { ledger } from "../internal/quotaContractLedger.ts"
import { limits } from "../internal/quotaContractLimits.ts"

export type { Case, Env }

/** For stores that do not count money. */
export const casesWithoutLedger: ReadonlyArray<Case> = [...limits, ...leases]

/** All of them: for stores that count money too. */
export const cases: ReadonlyArray<Case> = [...casesWithoutLedger, ...ledger]
