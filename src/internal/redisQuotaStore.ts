/**
 * A quota store in Redis: one script for each operation, and in this process only what it must still tell Redis: which of
 * its leases live on, and what became of those that could not be settled at once.
 */
import { randomUUID } from "node:crypto"
import * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Redis } from "effect/persistence/Redis"
import type { Charge, Durable } from "../Ledger.ts"
import type { Entry, LedgerStore, Service, Shared } from "../QuotaStore.ts"
import { Background } from "./background.ts"
import { Batches } from "./batches.ts"
import { type Message, Outbox } from "./outbox.ts"
import { checkAmount, checkLeft, usedOf } from "./quotas.ts"
import { StoreUnavailable } from "./reasons.ts"
import { Commands, type Script } from "./redisCommands.ts"
import { leaseOf, type MoneyLease } from "./redisMoney.ts"
import { MoneyStore, postRemembered } from "./redisMoneyStore.ts"
import { type Keys, pushEntries, scripts, textOf } from "./redisQuotas.ts"

export interface Settings {
  readonly redis: Redis["Service"]
  readonly keys: Keys
  /** Milliseconds. */
  readonly commandTimeout: number
  /** Milliseconds that the scripts add to the server's time: tests let time pass with them. */
  readonly offset: () => number
  /** Where the lines of money are moved to. */
  readonly ledger?: Durable | undefined
  /** Lines that Redis keeps. */
  readonly maxLines?: number | undefined
}

/** How long after its end a lease is still corrected, and a settle is remembered. */
const remembered = Duration.toMillis("10 minutes")

/** No ttl is longer. */
const longest = Duration.toMillis("365 days")

/** Shortest pause between two renewals, and most leases renewed by one command. */
const minPeriod = 10
const atOnce = 1000

const periodOf = (ttl: number): number => Math.max(minPeriod, ttl / 3)

/** A lease that was asked for and is not settled. */
interface Held {
  readonly key: string
  readonly entries: ReadonlyArray<Entry>
  readonly ttl: number
  /** Where it is of money. */
  readonly money: MoneyLease | undefined
  /** By this process's clock. */
  until: number
  granted: boolean
}

/** Its arguments without the offset of time, with which those of every script begin. */
interface Settlement extends Message {
  readonly keys: ReadonlyArray<string>
  readonly args: ReadonlyArray<string>
  readonly money: MoneyLease | undefined
  readonly charge: Charge | undefined
}

export class Store implements Service {
  readonly shared: Shared = { name: "redis", instances: () => this.instances }
  readonly ledger: LedgerStore
  private readonly settings: Settings
  private readonly commands: Commands
  private readonly money: MoneyStore
  private readonly id = randomUUID()
  private readonly held = new Map<string, Held>()
  private readonly outbox: Outbox<Settlement>
  private readonly takes = new Batches((entries: ReadonlyArray<Entry>) => this.takeEach(entries))
  private readonly renewals: Background
  private period = Infinity
  private instances: number | undefined

  constructor(settings: Settings, context: Context.Context<never>) {
    this.settings = settings
    this.commands = new Commands(settings.redis, settings.commandTimeout)
    this.money = new MoneyStore({ ...settings, commands: this.commands }, context)
    this.ledger = this.money.ledger
    this.outbox = new Outbox(context, (settlement) => this.tell(settlement))
    const step = Effect.suspend(() => Effect.andThen(Effect.sleep(this.period), this.renew))
    this.renewals = new Background(context, () => this.held.size === 0, step)
  }

  readonly reserve: Service["reserve"] = (lease, entries, ttl) =>
    Effect.withFiber((fiber) => {
      const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      for (const { amount } of entries) checkAmount(amount)
      const args: Array<string> = []
      pushEntries(args, entries)
      const money = leaseOf(lease, entries)
      const held = this.hold(lease, entries, ttl, money, now)
      args.push(`${held.ttl}`)
      const keys = this.keysOf(entries, held.key)
      const asked =
        money === undefined
          ? this.ask("reserve", scripts.reserve, keys, [...args, `${remembered}`])
          : this.money.reserve(keys, [`${this.settings.offset()}`, ...args], money)
      return Effect.map(asked, (answer) => {
        if (answer._tag === "Granted") held.granted = true
        else if (this.held.get(lease) === held) this.held.delete(lease)
        return answer
      })
    })

  readonly take: Service["take"] = (entries) =>
    Effect.suspend(() => {
      for (const { amount } of entries) checkAmount(amount)
      const entry = entries[0]
      if (entries.length === 1 && entry?.quota._tag === "Bucket") {
        textOf(entry.quota) // throws for one that cannot be counted, before it is among others
        return this.takes.ask(entry)
      }
      const args: Array<string> = []
      pushEntries(args, entries)
      return this.ask("take", scripts.take, this.keysOf(entries), args)
    })

  /** Never fails: what is not answered in time is told again until the lease is forgotten. */
  readonly settle: Service["settle"] = (lease, actual, charge) =>
    Effect.uninterruptible(
      Effect.withFiber((fiber) => {
        const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
        const held = this.held.get(lease)
        this.held.delete(lease)
        const { entries, key, money, until } = held ?? unknown(this.settings.keys.lease(lease), now)
        const args: Array<string> = []
        pushEntries(args, entries)
        args.push(`${remembered}`, ...entries.map(({ amount }, i) => `${usedOf(actual[i], amount)}`))
        // money that was not known to be granted was not spent
        if (money !== undefined && held?.granted === false) money.epoch = ""
        const useful = until + (money === undefined ? remembered : postRemembered)
        const settlement = { keys: this.keysOf(entries, key), args, money, charge, until: useful }
        return Effect.catch(this.tell(settlement), () => Effect.sync(() => this.outbox.add(settlement)))
      })
    )

  readonly read: Service["read"] = (entries) =>
    Effect.suspend(() => {
      if (entries.length === 0) return Effect.succeed([])
      const args: Array<string> = []
      pushEntries(
        args,
        entries.map(({ quota }) => ({ quota, amount: 0 }))
      )
      return this.ask("read", scripts.read, this.keysOf(entries), args)
    })

  readonly observe: Service["observe"] = (entry) =>
    Effect.suspend(() => {
      checkLeft(entry.amount)
      const args: Array<string> = []
      pushEntries(args, [entry])
      return this.ask("observe", scripts.observe, this.keysOf([entry]), args)
    })

  /** Learns which counters of money Redis has. */
  get start(): Effect.Effect<void, StoreUnavailable> {
    return this.money.start
  }

  /** Ends the renewals, tries for the last time to settle what could not be settled, and to move the lines of it. */
  readonly close: Effect.Effect<void> = Effect.suspend(() =>
    Effect.andThen(Effect.andThen(this.renewals.close, this.outbox.close), this.money.close)
  )

  /** How much is remembered, for tests. */
  get size(): { readonly held: number; readonly outbox: number } {
    return { held: this.held.size, outbox: this.outbox.size }
  }

  /** From the question on, since it may be carried out though its answer is lost. */
  private hold(
    lease: string,
    entries: ReadonlyArray<Entry>,
    duration: Duration.Duration,
    money: MoneyLease | undefined,
    now: number
  ): Held {
    const ttl = Math.ceil(Math.min(longest, Math.max(1, Duration.toMillis(duration))))
    const held = { key: this.settings.keys.lease(lease), entries, ttl, money, until: now + ttl, granted: false }
    if (this.held.has(lease)) return held
    this.held.set(lease, held)
    const period = periodOf(ttl)
    if (this.renewals.running && period >= this.period) return held
    this.period = period
    this.renewals.restart()
    return held
  }

  /** One command for all. A lease that was never granted is forgotten at its end. */
  private readonly renew: Effect.Effect<void> = Effect.flatMap(Clock.currentTimeMillis, (now) => {
    const leases: Array<Held> = []
    let shortest = longest
    for (const [lease, held] of this.held) {
      shortest = Math.min(shortest, held.ttl)
      if (held.granted) leases.push(held)
      else if (held.until <= now) this.held.delete(lease)
    }
    this.period = periodOf(shortest)
    const parts = Array.from({ length: Math.ceil(leases.length / atOnce) }, (_, i) => i * atOnce)
    const renewed = Effect.forEach(parts, (from) => this.renewSome(leases.slice(from, from + atOnce), now))
    return Effect.ignore(renewed) // the next one comes before the leases end
  })

  private renewSome(leases: ReadonlyArray<Held>, now: number): Effect.Effect<void, StoreUnavailable> {
    const keys = [this.settings.keys.instances]
    const args = [this.id, `${Math.ceil(this.period * 3)}`]
    const add = (key: string, member: string, millis: number) => {
      keys.push(key)
      args.push(member, `${millis}`)
    }
    for (const { entries, key, money, ttl } of leases) {
      add(key, "", ttl + remembered)
      if (money !== undefined) add(`${this.settings.keys.money}expiries`, key, ttl)
      for (const [i, entry] of entries.entries())
        if (entry.quota._tag === "Concurrency")
          add(this.settings.keys.entry(entry), `${entry.amount}:${i + 1}:${key}`, ttl)
    }
    const renewed = leases.some(({ money }) => money !== undefined)
      ? this.money.renew(keys, [`${this.settings.offset()}`, ...args])
      : this.ask("renew", scripts.renew, keys, args)
    return Effect.map(renewed, (instances) => {
      this.instances = instances
      for (const held of leases) held.until = now + held.ttl
    })
  }

  private keysOf(entries: ReadonlyArray<Pick<Entry, "key" | "quota">>, lease?: string): ReadonlyArray<string> {
    const keys = entries.map((entry) => this.settings.keys.entry(entry))
    if (lease !== undefined) keys.push(lease)
    return keys
  }

  private tell({ args, charge, keys, money }: Settlement): Effect.Effect<void, StoreUnavailable> {
    if (money === undefined) return this.ask("settle", scripts.settle, keys, args)
    return this.money.settle(keys, [`${this.settings.offset()}`, ...args], money, charge)
  }

  private takeEach(entries: ReadonlyArray<Entry>) {
    const keys = this.keysOf(entries)
    const args = [`${keys.length}`, ...keys, `${this.settings.offset()}`]
    for (const { amount, quota } of entries) {
      const { limit, own1 } = textOf(quota)
      args.push(`${amount}`, limit, own1)
    }
    return this.commands.run("take", scripts.takeEach, args)
  }

  private ask<Reply, A>(
    operation: string,
    script: Script<Reply, A>,
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string>
  ) {
    return this.commands.run(operation, script, [`${keys.length}`, ...keys, `${this.settings.offset()}`, ...args])
  }
}

/** What is settled without a reservation that this process knows. */
const unknown = (key: string, until: number) => ({ entries: [], key, money: undefined, until })

/** Fails where a full memory evicts any key. Where the server does not tell, nothing is refused. */
export const checkEviction = (redis: Redis["Service"], millis: number): Effect.Effect<void, StoreUnavailable> => {
  const info = new Commands(redis, millis).send("start", "INFO", "memory")
  const told = Effect.catchIf(
    info,
    ({ description }) => description === "NOPERM" || description === "ERR",
    () => Effect.succeed("")
  )
  return Effect.flatMap(told, (memory) => {
    const policy = /^maxmemory_policy:(\S+)/m.exec(String(memory))?.[1] ?? "noeviction"
    const description = `maxmemory-policy ${policy} evicts quotas, set noeviction`
    if (policy.startsWith("allkeys-"))
      return Effect.fail(new StoreUnavailable({ store: "redis", operation: "start", description }))
    return policy === "noeviction" ? Effect.void : Effect.logWarning(`RedisQuotaStore: ${description}`)
  })
}
