/** The ledger of a store in Redis: of the lines that it keeps, or of the durable one to which it moves them. */
import * as Effect from "effect/Effect"
import type { Durable, Query } from "../Ledger.ts"
import type { LedgerStore } from "../QuotaStore.ts"
import { isAsked, type Row, sumBy } from "./ledgerSums.ts"
import type { StoreUnavailable } from "./reasons.ts"
import { check } from "./redisCheck.ts"
import type { Commands } from "./redisCommands.ts"
import type { Ask, Lines } from "./redisLines.ts"
import { moneyScripts } from "./redisMoney.ts"
import { answered, type Mover } from "./redisMover.ts"
import type { Keys } from "./redisQuotas.ts"

export interface Settings {
  readonly commands: Commands
  readonly ask: Ask
  readonly keys: Keys
  readonly lines: Lines
  readonly offset: () => number
  /** The last arguments of every script of money. */
  readonly mode: ReadonlyArray<string>
  readonly durable: { readonly ledger: Durable; readonly mover: Mover } | undefined
  readonly post: LedgerStore["post"]
}

const defaultLines = 100
const mostLines = 1000

/** Most rounds of expired leases that are charged before the ledger is read, 20 leases each. */
const maxRounds = 500

export class RedisLedger implements LedgerStore {
  private readonly settings: Settings
  readonly post: LedgerStore["post"]
  readonly check: LedgerStore["check"]

  constructor(settings: Settings) {
    this.settings = settings
    this.post = settings.post
    this.check = Effect.andThen(this.tidy("check"), check(settings))
  }

  readonly report: LedgerStore["report"] = (query) =>
    Effect.andThen(
      this.tidy("report"),
      this.durable((ledger) => ledger.report(query)) ?? Effect.map(this.rows(query), (rows) => sumBy(rows, query))
    )

  readonly lines: LedgerStore["lines"] = (limit = defaultLines) => {
    const count = Math.max(0, Math.min(limit, mostLines))
    return Effect.andThen(
      this.tidy("lines"),
      this.durable((ledger) => ledger.lines(count)) ?? this.settings.lines.newest("lines", count)
    )
  }

  readonly forget: LedgerStore["forget"] = (tenant) =>
    Effect.andThen(
      this.tidy("forget"),
      this.durable((ledger) => ledger.forget(tenant)) ??
        Effect.andThen(this.settings.lines.forget("forget", tenant), this.forgetSums(tenant))
    )

  /** What the durable ledger says when it has everything that is here. */
  private durable<A>(
    ask: (ledger: Durable) => Effect.Effect<A, StoreUnavailable>
  ): Effect.Effect<A, StoreUnavailable> | undefined {
    const { durable } = this.settings
    return durable && Effect.andThen(durable.mover.move, answered(Effect.suspend(() => ask(durable.ledger))))
  }

  /** Charges what expired by now. */
  private tidy(operation: string): Effect.Effect<void, StoreUnavailable> {
    const { ask, keys, mode, offset } = this.settings
    return Effect.gen(function* () {
      for (let i = 0; i < maxRounds; i++)
        if (!(yield* ask(operation, moneyScripts.tidy, [keys.money], [`${offset()}`, ...mode]))) return
    })
  }

  private forgetSums(tenant: string): Effect.Effect<void, StoreUnavailable> {
    const { ask, keys } = this.settings
    return Effect.gen({ self: this }, function* () {
      for (const day of yield* this.days("forget")) {
        let cursor = "0"
        do {
          const args = [day, cursor, JSON.stringify(tenant)]
          cursor = yield* ask("forget", moneyScripts.forgetSums, [keys.money], args)
        } while (cursor !== "0")
      }
    })
  }

  /** As JSON. */
  private days(operation: string): Effect.Effect<ReadonlyArray<string>, StoreUnavailable> {
    const { commands, keys } = this.settings
    return commands.send<ReadonlyArray<string>>(operation, "ZRANGE", `${keys.money}days`, "0", "-1")
  }

  /** A scan may show a field twice: it is taken as it was last. */
  private rows(query: Query): Effect.Effect<Iterable<Row>, StoreUnavailable> {
    const { commands, keys } = this.settings
    return Effect.gen({ self: this }, function* () {
      const rows = new Map<string, Changing>()
      for (const text of yield* this.days("report")) {
        const day = JSON.parse(text) as string // a text, as `redisMoney.ts` wrote it
        if (!isAsked({ day, tenant: query.tenant }, query)) continue
        let cursor = "0"
        do {
          const [next, fields] = yield* commands.send<readonly [string, ReadonlyArray<string>]>(
            "report",
            "HSCAN",
            `${keys.money}day:${text}`,
            cursor,
            "COUNT",
            "1000"
          )
          for (let i = 0; i < fields.length; i += 2) set(rows, day, fields[i] ?? "", Number(fields[i + 1]))
          cursor = next
        } while (cursor !== "0")
      }
      return rows.values()
    })
  }
}

type Changing = { -readonly [K in keyof Row]: Row[K] }

/** A letter, and five parts. */
const set = (rows: Map<string, Changing>, day: string, field: string, value: number): void => {
  const name = `${day}\n${field.slice(1)}`
  const row = rows.get(name) ?? rowOf(day, field.slice(1))
  rows.set(name, row)
  const measure = measures.get(field.slice(0, 1))
  if (measure !== undefined) row[measure] = value
}

const measures = new Map([
  ["c", "charges"],
  ["a", "amount"],
  ["s", "saved"],
  ["i", "input"],
  ["o", "output"]
] as const) as ReadonlyMap<string, "charges" | "amount" | "saved" | "input" | "output"> // asked for any letter

const rowOf = (day: string, group: string): Changing => {
  const [provider, model, tenant, user, feature] = group
    .split("\n")
    .map((text) => (text === "" ? undefined : (JSON.parse(text) as string))) // as `redisMoney.ts` wrote them
  return { day, provider: provider ?? "other", model: model ?? "other", tenant, user, feature, ...none }
}

const none = { charges: 0, amount: 0, saved: 0, input: 0, output: 0 }
