/** Cases of the contract for stores that count money: every charge becomes a line, and the lines sum up to the counters. */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Line, Query, Subject } from "../Ledger.ts"
import type { Entry, LedgerStore, Service } from "../QuotaStore.ts"
import {
  type Case,
  concurrency,
  hourFrom,
  of,
  promise,
  rolling,
  seconds,
  ttl,
  whenHoldersDie
} from "./quotaContract.ts"
import { nameOf, widthOf } from "./quotas.ts"

const subject: Subject = {
  call: "call-1",
  provider: "openai",
  model: "gpt-5-mini",
  day: "2026-11-28",
  prices: "2026-09-23",
  tenant: "}{ä: x",
  user: "bob",
  feature: "search"
}

const money =
  (entry: (amount: number) => Entry, of = subject) =>
  (amount: number): Entry => ({ ...entry(amount), subject: of })

const answered = { outcome: "answered", tokens: { input: 100, output: 20 } } as const

export const ledger: ReadonlyArray<Case> = [
  promise("a settled reservation of money is a line with a posting for each counter", function* (store) {
    const [hour, day] = [hourFrom(yield* store.now), { ...hourFrom(yield* store.now), limit: 50 }]
    const entries = [money(of(hour))(4), of(concurrency)(1), money(of(day, "b"))(4)]
    yield* store.granted("1", ...entries)
    yield* settle(store, "1", [3, 0, 3], answered)
    const [line, ...others] = yield* lines(store)
    ok(line !== undefined && others.length === 0)
    const { at, postings, ...rest } = line
    deepStrictEqual(rest, { ...subject, id: "1", amount: 3, ...answered })
    ok(Math.abs(at - hour.startsAt) < seconds(5))
    deepStrictEqual(postings, [
      { account: nameOf({ key: "a", quota: hour }), slot: 0, endsAt: hour.endsAt, amount: 3 },
      { account: nameOf({ key: "b", quota: day }), slot: 0, endsAt: day.endsAt, amount: 3 }
    ])
    strictEqual(yield* store.left(of(hour)(0)), 7)
    yield* agrees(store)
  }),
  promise("what cost nothing has no line, unless it is said what it was", function* (store) {
    const take = money(of(hourFrom(yield* store.now)))
    yield* store.granted("1", take(4))
    yield* settle(store, "1", [0])
    yield* store.granted("2", take(4))
    yield* settle(store, "2", [0], answered)
    deepStrictEqual(summary(yield* lines(store)), [["2", "answered", 0, []]])
  }),
  promise("what was used without a word of how is lost", function* (store) {
    yield* store.granted("1", money(of(hourFrom(yield* store.now)))(4))
    yield* settle(store, "1", [])
    deepStrictEqual(summary(yield* lines(store)), [["1", "lost", 4, [4]]])
    yield* agrees(store)
  }),
  promise("a reservation without money has no line, whatever is said of it", function* (store) {
    yield* store.granted("1", of(hourFrom(yield* store.now))(4))
    yield* settle(store, "1", [4], answered)
    yield* settle(store, "unknown", [4], answered)
    deepStrictEqual(yield* lines(store), [])
  }),
  promise("the first settle writes the line", function* (store) {
    yield* store.granted("1", money(of(hourFrom(yield* store.now)))(4))
    yield* settle(store, "1", [2], answered)
    yield* settle(store, "1", [9], answered)
    deepStrictEqual(summary(yield* lines(store)), [["1", "answered", 2, [2]]])
  }),
  promise("more than was reserved is a debt, in the line too", function* (store) {
    const take = money(of(hourFrom(yield* store.now)))
    yield* store.granted("1", take(10))
    yield* settle(store, "1", [25], answered)
    strictEqual(yield* store.left(take(0)), -15)
    deepStrictEqual(summary(yield* lines(store)), [["1", "answered", 25, [25]]])
    yield* agrees(store)
  }),
  promise("a line is booked in the sub-window that admitted the call", function* (store, advance) {
    const take = money(of(rolling))
    const admitted = Math.floor((yield* store.now) / widthOf(rolling))
    yield* store.granted("1", take(4))
    yield* agrees(store)
    yield* advance(seconds(20))
    yield* settle(store, "1", [6], answered)
    const [line] = yield* lines(store)
    const slot = line?.postings[0]?.slot ?? Number.NaN
    ok(slot === admitted || slot === admitted + 1)
    const endsAt = (slot + rolling.slots + 1) * widthOf(rolling)
    deepStrictEqual(line?.postings, [{ account: nameOf(take(0)), slot, endsAt, amount: 6 }])
    yield* agrees(store)
  }),
  promise("a settle behind the end of its window still writes its line", function* (store, advance) {
    yield* store.granted("1", money(of(hourFrom(yield* store.now)))(4))
    yield* advance(seconds(3700))
    yield* settle(store, "1", [6], answered)
    deepStrictEqual(summary(yield* lines(store)), [["1", "answered", 6, [6]]])
    yield* agrees(store)
  }),
  promise("the sums agree while reservations are open, and a counter that nobody charged is found", function* (store) {
    const hour = hourFrom(yield* store.now)
    yield* store.granted("1", money(of(hour))(4), money(of(hour))(1))
    yield* store.granted("2", money(of(hour))(3))
    yield* settle(store, "2", [2], answered)
    yield* agrees(store)
    yield* store.taken(of(hour)(1))
    const account = nameOf({ key: "a", quota: hour })
    deepStrictEqual(yield* ledgerOf(store).check, [{ account, slot: 0, counted: 3, recorded: 2 }])
  }),
  promise("a lease whose holder lives is not charged", function* (store, advance) {
    const take = money(of({ ...hourFrom(yield* store.now), endsAt: (yield* store.now) + seconds(36_000) }))
    yield* store.granted("1", take(4))
    for (let i = 0; i < 12; i++) yield* advance(Duration.toMillis(ttl) / 3)
    deepStrictEqual(yield* lines(store), [])
    yield* settle(store, "1", [0])
    deepStrictEqual(yield* lines(store), [])
    strictEqual(yield* store.left(take(0)), 10)
  }),
  whenHoldersDie(
    "an expired lease is a charge of what it reserved, which a late settle corrects",
    function* (store, advance) {
      const take = money(of(hourFrom(yield* store.now)))
      yield* store.granted("1", take(4))
      yield* store.granted("2", take(2))
      yield* advance(Duration.toMillis(ttl))
      deepStrictEqual(summary((yield* lines(store)).toSorted((a, b) => a.id.localeCompare(b.id))), [
        ["1", "expired", 4, [4]],
        ["2", "expired", 2, [2]]
      ])
      yield* agrees(store)
      yield* settle(store, "1", [1], answered)
      yield* settle(store, "1", [0])
      const [late] = yield* lines(store)
      deepStrictEqual(summary(late === undefined ? [] : [late]), [["1/late", "corrected", -3, [-3]]])
      deepStrictEqual(late?.tokens, answered.tokens)
      strictEqual(yield* store.left(take(0)), 7)
      yield* agrees(store)
    }
  ),
  promise("a post is booked whatever the quota holds, once, and lowers nothing below zero", function* (store) {
    const window = of(hourFrom(yield* store.now))
    const post = (id: string, amount: number) =>
      ledgerOf(store).post({
        id,
        amount,
        subject,
        charge: { outcome: "adjusted", note: "an invoice" },
        entries: [window(amount)]
      })
    yield* post("1", 12)
    yield* post("1", 12)
    strictEqual(yield* store.left(window(0)), -2)
    yield* post("2", -5)
    strictEqual(yield* store.left(window(0)), 3)
    yield* post("3", -100)
    strictEqual(yield* store.left(window(0)), 10)
    const all = yield* lines(store)
    deepStrictEqual(summary(all), [
      ["3", "adjusted", -100, [-7]],
      ["2", "adjusted", -5, [-5]],
      ["1", "adjusted", 12, [12]]
    ])
    strictEqual(all[0]?.note, "an invoice")
    yield* agrees(store)
  }),
  promise("reports sums by what is asked for, the largest first", function* (store) {
    const book = (id: string, amount: number, of: Partial<Subject>, saved?: number) =>
      ledgerOf(store).post({
        id,
        amount,
        subject: { ...subject, ...of },
        charge: saved === undefined ? answered : { outcome: "saved", saved },
        entries: []
      })
    yield* book("1", 5, {})
    yield* book("2", 7, { model: "gpt-5", day: "2026-11-29" })
    yield* book("3", 1, { tenant: "acme", user: undefined, day: "2026-11-30" })
    yield* book("4", 0, {}, 40)
    const report = (query: Query) => ledgerOf(store).report(query)
    const sum = (charges: number, amount: number, saved = 0) => ({
      charges,
      amount,
      saved,
      tokens: { input: 100 * charges, output: 20 * charges }
    })
    deepStrictEqual(yield* report({ by: [] }), [sum(3, 13, 40)])
    deepStrictEqual(yield* report({ by: ["model"] }), [
      { model: "gpt-5", ...sum(1, 7) },
      { model: "gpt-5-mini", ...sum(2, 6, 40) }
    ])
    deepStrictEqual(yield* report({ by: ["tenant", "user"], from: "2026-11-29" }), [
      { tenant: subject.tenant, user: "bob", ...sum(1, 7) },
      { tenant: "acme", ...sum(1, 1) }
    ])
    deepStrictEqual(yield* report({ by: ["day"], until: "2026-11-29", tenant: "}{ä: x" }), [
      { day: "2026-11-29", ...sum(1, 7) },
      { day: "2026-11-28", ...sum(1, 5, 40) }
    ])
    deepStrictEqual(yield* report({ by: ["provider", "feature"], tenant: "nobody" }), [])
  }),
  promise("shows the last lines, as many as are asked for", function* (store) {
    for (const id of ["1", "2", "3"])
      yield* ledgerOf(store).post({ id, amount: 1, subject, charge: answered, entries: [] })
    deepStrictEqual(
      (yield* lines(store, 2)).map(({ id }) => id),
      ["3", "2"]
    )
  }),
  promise("forgets who a tenant was, and not what was paid", function* (store) {
    const hour = hourFrom(yield* store.now)
    yield* store.granted("1", money(of(hour))(4))
    yield* settle(store, "1", [3], answered)
    yield* store.granted("2", money(of(hour), { ...subject, tenant: "acme" })(4))
    yield* settle(store, "2", [2], answered)
    yield* ledgerOf(store).forget("}{ä: x")
    const [second, first] = yield* lines(store)
    deepStrictEqual(
      [second?.tenant, second?.user, first?.tenant, first?.user, first?.feature, first?.run],
      ["acme", "bob", ...Array<undefined>(4)]
    )
    const sums = yield* ledgerOf(store).report({ by: ["tenant"] })
    deepStrictEqual(
      sums.map(({ amount, tenant }) => [tenant, amount]),
      [
        [undefined, 3],
        ["acme", 2]
      ]
    )
    yield* agrees(store)
  }),
  promise("counts every nano-USD of amounts that are as large as can be", function* (store) {
    const most = Number.MAX_SAFE_INTEGER
    const hour = { ...hourFrom(yield* store.now), limit: most }
    yield* store.granted("1", money(of(hour))(most - 2))
    yield* settle(store, "1", [most - 1], answered)
    strictEqual(yield* store.left(of(hour)(0)), 1)
    yield* store.granted("2", money(of(hour))(1))
    yield* settle(store, "2", [1], answered)
    deepStrictEqual(
      (yield* ledgerOf(store).report({ by: [] })).map(({ amount }) => amount),
      [most]
    )
    yield* agrees(store)
  })
]

interface Store {
  readonly raw: Service
}

const ledgerOf = ({ raw }: Store): LedgerStore => {
  ok(raw.ledger !== undefined, "the store keeps a ledger")
  return raw.ledger
}

const settle = ({ raw }: Store, ...args: Parameters<Service["settle"]>) => Effect.suspend(() => raw.settle(...args))

const lines = (store: Store, limit?: number) => Effect.suspend(() => ledgerOf(store).lines(limit))

const agrees = (store: Store) =>
  Effect.map(
    Effect.suspend(() => ledgerOf(store).check),
    (mismatches) => deepStrictEqual(mismatches, [], "the lines sum up to the counters")
  )

const summary = (lines: ReadonlyArray<Line>) =>
  lines.map(({ amount, id, outcome, postings }) => [id, outcome, amount, postings.map(({ amount }) => amount)])
