/**
 * One ledger of attempts per call: retries, fallbacks, hedges and repairs all take from it, so that policies which know
 * nothing of each other cannot multiply.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import type { Open as Receipt } from "./Receipt.ts"

/** What one call has made of the attempts it may make. All policies of the call count in the same object. */
export interface Ledger {
  /** Attempts made or begun; the first one is there from the start. */
  used: number
  /** Most attempts of any kind, the first one included. */
  readonly max: number
  /** Of the call, where one is kept. */
  readonly receipt?: Receipt | undefined
}

/** The ledger of the running call; `undefined` outside of one. */
export const Current: Context.Reference<Ledger | undefined> = Context.Reference<Ledger | undefined>(
  "ballast/Attempts",
  {
    defaultValue: () => undefined
  }
)

/** Most attempts of any kind that one call may make, unless told otherwise. */
export const defaultMax = 8

/** A ledger in which the first attempt is counted. `max` is not checked here, but where it is an option. */
export const make = (max: number, receipt?: Receipt): Ledger => ({ used: 1, max, receipt })

/** The same ledger with another receipt. */
export const withReceipt = (ledger: Ledger, receipt: Receipt): Ledger & { readonly receipt: Receipt } => ({
  get used() {
    return ledger.used
  },
  set used(used) {
    ledger.used = used
  },
  max: ledger.max,
  receipt
})

/** The receipt of the call of this fiber; `undefined` where nobody keeps one. */
export const receiptOf = (fiber: Fiber.Fiber<unknown, unknown>): Receipt | undefined => fiber.getRef(Current)?.receipt

/** Takes one more attempt for the call of this fiber, if one is left; a call without a ledger is not bounded by one. */
export const take = (fiber: Fiber.Fiber<unknown, unknown>): boolean => {
  const ledger = fiber.getRef(Current)
  if (ledger === undefined) return true
  if (ledger.used >= ledger.max) return false
  ledger.used++
  return true
}

/** Gives back one attempt that was taken and then not made. */
export const giveBack = (ledger: Ledger | undefined): void => {
  if (ledger !== undefined) ledger.used--
}

/** Opens a ledger for a call that has none yet: the outermost policy's bound holds. */
export const open = <A, E, R>(call: () => Effect.Effect<A, E, R>, max: number): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) =>
    fiber.getRef(Current) === undefined ? Effect.provideService(Effect.suspend(call), Current, make(max)) : call()
  )

/**
 * Whether the attempt may wait for a permit or try again. A hedge may not: it is an extra, and when it is refused it is
 * simply not made.
 */
export const MayWait: Context.Reference<boolean> = Context.Reference<boolean>("ballast/Attempts/MayWait", {
  defaultValue: () => true
})

/** Whether the attempt has lost a race against another one; set before it is interrupted, so that gates can tell. */
export const Race: Context.Reference<{ lost: boolean } | undefined> = Context.Reference<{ lost: boolean } | undefined>(
  "ballast/Attempts/Race",
  { defaultValue: () => undefined }
)
