/**
 * A quota store in a database: every operation is one transaction, which locks the counters it needs, computes here and
 * writes them back. In this process is only what the database must still be told: which of its leases live on, and what
 * became of those that could not be settled at once.
 */
import { randomUUID } from "node:crypto"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { SqlClient } from "effect/sql/SqlClient"
import type { SqlError } from "effect/sql/SqlError"
import type { Charge } from "../Ledger.ts"
import type { Denied, Entry, Granted, Service, Shared } from "../QuotaStore.ts"
import { refused, remaining } from "./memoryItems.ts"
import { type Message, Outbox } from "./outbox.ts"
import * as quotas from "./quotas.ts"
import type { StoreUnavailable } from "./reasons.ts"
import { Accounts, ask, type Body } from "./sqlAccounts.ts"
import { Again, Commands } from "./sqlCommands.ts"
import type { Dialect, Look } from "./sqlDialect.ts"
import { expiryOf, openLease, remembered, settlementOf } from "./sqlEndings.ts"
import { SqlLedger } from "./sqlLedger.ts"
import { Leases } from "./sqlLeases.ts"
import { accountIdOf, idOf } from "./sqlRows.ts"
import { Sweeper } from "./sqlSweeper.ts"
import type { Tables } from "./sqlTables.ts"

export interface Settings {
  readonly sql: SqlClient
  readonly tables: Tables
  readonly dialect: Dialect
  /** Milliseconds. */
  readonly commandTimeout: number
  readonly retention: number
}

/** Most leases that one operation sees to when they have expired. */
const expireAtOnce = 100

interface Settlement extends Message {
  readonly lease: string
  readonly actual: ReadonlyArray<number>
  readonly charge: Charge | undefined
}

export class Store implements Service {
  readonly shared: Shared
  readonly ledger: SqlLedger
  private readonly settings: Settings
  private readonly commands: Commands
  private readonly id = randomUUID()
  private readonly leases: Leases
  private readonly outbox: Outbox<Settlement>
  private readonly sweeper: Sweeper
  private instances: number | undefined

  constructor(settings: Settings, context: Context.Context<never>) {
    const { dialect, retention, sql } = settings
    this.settings = settings
    this.shared = { name: dialect.name, instances: () => this.instances }
    this.commands = new Commands(sql, dialect.name)
    this.outbox = new Outbox(context, (settlement) => this.tell(settlement))
    this.leases = new Leases(context, (leases, millis) => this.renew(leases, millis))
    this.sweeper = new Sweeper(context, (limit) => this.ask("sweep", dialect.sweep(limit, retention)))
    this.ledger = new SqlLedger({
      ...settings,
      commands: this.commands,
      step: (operation, ids, body) => this.step(operation, [], ids, body),
      expire: this.expire
    })
  }

  readonly reserve: Service["reserve"] = (lease, entries, ttl) =>
    Effect.withFiber((fiber) => {
      check(entries)
      const held = this.leases.hold(lease, ttl, fiber.getRef(Clock.Clock).currentTimeMillisUnsafe())
      const id = idOf("L", lease)
      const asked = this.step<Granted | Denied>(
        "reserve",
        [id],
        entries.map(accountIdOf),
        (accounts, { leases, now }) => {
          const items = accounts.items(entries)
          if (leases.length > 0) return Effect.succeed({ answer: refused(0, undefined, remaining(items), now) })
          const answer = ask(items, now, true)
          if (answer._tag === "Denied") return Effect.succeed({ answer })
          const opened = [openLease(id, lease, entries, now, held.ttl)]
          return Effect.succeed({ answer, changes: { accounts: accounts.rows, opened } })
        }
      )
      return Effect.map(asked, (answer) => {
        if (answer._tag === "Granted") held.granted = true
        else this.leases.drop(lease, held)
        return answer
      })
    })

  readonly take: Service["take"] = (entries) =>
    Effect.suspend(() => {
      check(entries)
      return this.step<Granted | Denied>("take", [], entries.map(accountIdOf), (accounts, { now }) => {
        const answer = ask(accounts.items(entries), now, false)
        return Effect.succeed({ answer, changes: answer._tag === "Granted" ? { accounts: accounts.rows } : undefined })
      })
    })

  /** Never fails: what is not answered in time is told again until the lease is forgotten. */
  readonly settle: Service["settle"] = (lease, actual, charge) =>
    Effect.uninterruptible(
      Effect.withFiber((fiber) => {
        const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
        const until = (this.leases.release(lease) ?? now) + remembered
        const settlement = { lease, actual, charge, until }
        return Effect.catch(this.tell(settlement), () => Effect.sync(() => this.outbox.add(settlement)))
      })
    )

  readonly read: Service["read"] = (entries) =>
    Effect.suspend(() => {
      for (const { quota } of entries) quotas.checkQuota(quota)
      if (entries.length === 0) return Effect.succeed([])
      const ids = entries.map(accountIdOf)
      return this.ask(
        "read",
        this.seen(this.settings.dialect.peek([], ids), (look) => {
          const accounts = new Accounts(look)
          const states = entries.map((entry) => {
            const account = accounts.of(entry)
            const resetAfter = Duration.millis(quotas.resetAfter(account, look.now))
            return { remaining: quotas.remaining(account), resetAfter }
          })
          return Effect.succeed(states)
        })
      )
    })

  readonly observe: Service["observe"] = (entry) =>
    Effect.suspend(() => {
      quotas.checkLeft(entry.amount)
      quotas.checkQuota(entry.quota)
      if (entry.quota._tag === "Concurrency") return Effect.void
      return this.step("observe", [], [accountIdOf(entry)], (accounts, { now }) => {
        const account = accounts.of(entry)
        const tooMuch = quotas.remaining(account) - entry.amount
        if (tooMuch <= 0) return Effect.succeed({ answer: undefined })
        quotas.take(account, tooMuch, now)
        return Effect.succeed({ answer: undefined, changes: { accounts: accounts.rows } })
      })
    })

  /** Ends the renewals, and tries for the last time to settle what could not be settled. */
  readonly close: Effect.Effect<void> = Effect.suspend(() =>
    Effect.andThen(Effect.andThen(this.leases.close, this.sweeper.close), this.outbox.close)
  )

  /** How much is remembered and under way, for tests. */
  get size(): { readonly held: number; readonly outbox: number; readonly running: number } {
    return { held: this.leases.size, outbox: this.outbox.size, running: this.commands.size }
  }

  private tell({ actual, charge, lease }: Settlement): Effect.Effect<void, StoreUnavailable> {
    const id = idOf("L", lease)
    return this.step("settle", [id], [], (accounts, { leases: [row] }) =>
      Effect.succeed({ answer: undefined, changes: settlementOf(id, row, accounts, actual, charge) })
    )
  }

  private renew(leases: ReadonlyArray<{ readonly id: string; readonly ttl: number }>, millis: number) {
    const renewed = leases.map(({ id, ttl }) => ({ id: idOf("L", id), ttl }))
    const asked = this.ask("renew", this.settings.dialect.renew({ instance: this.id, millis, leases: renewed }))
    return Effect.map(asked, (instances) => void (this.instances = instances))
  }

  private ask<A>(operation: string, step: Effect.Effect<A, SqlError | Again>): Effect.Effect<A, StoreUnavailable> {
    this.sweeper.used()
    return this.commands.run(operation, this.settings.commandTimeout, step)
  }

  /** One transaction. Everything that is read by it is locked. */
  private step<A>(operation: string, leases: ReadonlyArray<string>, ids: ReadonlyArray<string>, body: Body<A>) {
    const { dialect } = this.settings
    const looked = this.seen(dialect.look(leases, ids), (look) => {
      const missing = dialect.opens ? missingOf(look, ids) : []
      if (missing.length > 0) return Effect.fail(new Again(dialect.open(missing)))
      return Effect.flatMap(body(new Accounts(look), look), ({ answer, changes }) =>
        changes === undefined ? Effect.succeed(answer) : Effect.as(dialect.write(changes), answer)
      )
    })
    return this.ask(operation, dialect.transaction(looked))
  }

  /** What expired is seen to before anything else is: once, somebody else may be at it. */
  private seen<A>(
    looked: Effect.Effect<Look, SqlError>,
    body: (look: Look) => Effect.Effect<A, SqlError | Again>
  ): Effect.Effect<A, SqlError | Again> {
    let expired = false
    return Effect.flatMap(looked, (look) => {
      if (!look.due || expired) return body(look)
      expired = true
      return Effect.fail(new Again(this.expire))
    })
  }

  private readonly expire: Effect.Effect<void, SqlError> = Effect.suspend(() => {
    const { dialect } = this.settings
    const all = Effect.flatMap(dialect.due(expireAtOnce), (ids) =>
      ids.length === 0
        ? Effect.void
        : Effect.flatMap(dialect.look(ids, []), (look) => Effect.asVoid(dialect.write(expiryOf(look))))
    )
    return dialect.transaction(all)
  })
}

/** Throws a `RangeError` for what cannot be taken. */
const check = (entries: ReadonlyArray<Entry>): void => {
  for (const { amount, quota } of entries) {
    quotas.checkAmount(amount)
    quotas.checkQuota(quota)
  }
}

/** Accounts that were asked for and are not there. */
const missingOf = ({ accounts, leases }: Look, ids: ReadonlyArray<string>): ReadonlyArray<string> => {
  const ofLeases = leases.flatMap(({ accounts }) => JSON.parse(accounts) as ReadonlyArray<string>) // as `openLease` writes them
  return [...new Set([...ids, ...ofLeases])].filter((id) => !accounts.has(id))
}
