/**
 * Statements and transactions, each answered within a while or failed with `StoreUnavailable`, whoever may interrupt.
 *
 * Who is answered does not wait for the end of it: a transaction that was given up is rolled back behind his back, and until
 * it is its connection is nobody else's.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type { SqlClient } from "effect/sql/SqlClient"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { StoreUnavailable } from "./reasons.ts"
import { Alarm, wheelOf } from "./timer.ts"

/** A step that must begin anew, when something else was done. */
export class Again {
  readonly _tag = "Again"
  readonly first: Effect.Effect<unknown, SqlError>

  constructor(first: Effect.Effect<unknown, SqlError> = Effect.void) {
    this.first = first
  }
}

/** How often a step begins anew at most. */
const maxAgain = 8
/** And how often because another transaction was in its way. */
const maxConflicts = 3

export class Commands {
  readonly store: string
  private readonly sql: SqlClient
  private running = 0

  constructor(sql: SqlClient, store: string) {
    this.sql = sql
    this.store = store
  }

  /** How many have not ended, those that were given up included. */
  get size(): number {
    return this.running
  }

  /** Not in a transaction that its caller may be in. */
  run<A>(
    operation: string,
    millis: number,
    step: Effect.Effect<A, SqlError | Again>
  ): Effect.Effect<A, StoreUnavailable> {
    return Effect.withFiber((parent) =>
      Effect.callback<A, StoreUnavailable>((resume) => {
        const failed = (description: string) =>
          resume(Exit.fail(new StoreUnavailable({ store: this.store, operation, description })))
        const wheel = wheelOf(parent)
        const context = Context.omit(this.sql.transactionService)(parent.context)
        this.running++
        const child = Effect.runForkWith(context)(repeated(step, maxAgain, maxConflicts))
        const alarm = new Alarm(() => {
          failed(`no answer within ${millis} ms`)
          child.interruptUnsafe()
        })
        wheel.set(alarm, parent.getRef(Clock.Clock).currentTimeMillisUnsafe() + millis, parent)
        child.addObserver((exit) => {
          this.running--
          wheel.clear(alarm)
          if (Exit.isSuccess(exit)) return resume(Exit.succeed(exit.value))
          const error = errorOf(exit.cause)
          if (error !== undefined) failed(error instanceof Again ? "another transaction was in the way" : codeOf(error))
          else resume(Exit.failCause(exit.cause as Cause.Cause<never>)) // a bug, there is no failure in it
        })
        return Effect.sync(() => {
          wheel.clear(alarm)
          child.interruptUnsafe(parent.id)
        })
      })
    )
  }
}

const repeated = <A>(
  step: Effect.Effect<A, SqlError | Again>,
  again: number,
  conflicts: number
): Effect.Effect<A, SqlError | Again> =>
  Effect.catch(step, (error) => {
    if (error instanceof Again && again > 0) return Effect.andThen(error.first, repeated(step, again - 1, conflicts))
    if (error instanceof Again || conflicts === 0 || !isConflict(error)) return Effect.fail(error)
    return repeated(step, again, conflicts - 1)
  })

const isConflict = ({ reason }: SqlError): boolean =>
  reason._tag === "DeadlockError" || reason._tag === "SerializationError" || reason._tag === "UniqueViolation"

/** The failure; also of a connection that could not even be rolled back, which is a defect to Effect. */
const errorOf = (cause: Cause.Cause<SqlError | Again>): SqlError | Again | undefined => {
  const failure = cause.reasons.find(Cause.isFailReason)
  if (failure !== undefined) return failure.error
  for (const reason of cause.reasons) if (Cause.isDieReason(reason) && isSqlError(reason.defect)) return reason.defect
  return undefined
}

/** Only the kind and the code of what went wrong: messages may hold statements, keys, addresses and passwords. */
const codeOf = ({ reason }: SqlError): string => {
  const { cause } = reason
  const code = typeof cause === "object" && cause !== null && "code" in cause ? cause.code : undefined
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) ? `${reason._tag} ${code}` : reason._tag
}
