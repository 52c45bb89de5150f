import { assert, describe, it, vi } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { dayOf, make, type Period } from "../src/internal/calendar.ts"

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const instant = (text: string): number => Date.parse(text)
const show = (at: number): string => new Date(at).toISOString()
const shown = ({ endsAt, startsAt }: { readonly startsAt: number; readonly endsAt: number }) => [
  show(startsAt),
  show(endsAt)
]
const periods = ["hour", "day", "week", "month"] as const

/** The local date and hour as another formatter writes them. */
const clock = (zone: string) => {
  const format = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" })
  return {
    date: (at: number) => format.format(at).slice(0, 10),
    hour: (at: number) => format.format(at).slice(0, 13),
    text: (at: number) => format.format(at)
  }
}

describe("a day", () => {
  it.each([
    ["UTC", "2026-11-28T12:00:00Z", "2026-11-28T00:00:00.000Z", 24],
    ["Europe/Berlin", "2026-11-28T12:00:00Z", "2026-11-27T23:00:00.000Z", 24],
    ["Europe/Berlin", "2026-03-29T12:00:00Z", "2026-03-28T23:00:00.000Z", 23],
    ["Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00.000Z", 25],
    ["America/New_York", "2026-11-01T12:00:00Z", "2026-11-01T04:00:00.000Z", 25],
    ["Asia/Kathmandu", "2026-11-28T12:00:00Z", "2026-11-27T18:15:00.000Z", 24],
    ["Asia/Kolkata", "2026-11-28T12:00:00Z", "2026-11-27T18:30:00.000Z", 24],
    ["Pacific/Chatham", "2026-11-28T12:00:00Z", "2026-11-28T10:15:00.000Z", 24],
    ["Australia/Lord_Howe", "2026-04-05T00:00:00Z", "2026-04-04T13:00:00.000Z", 24.5],
    ["Australia/Lord_Howe", "2026-10-04T00:00:00Z", "2026-10-03T13:30:00.000Z", 23.5],
    ["America/Santiago", "2026-09-06T12:00:00Z", "2026-09-06T04:00:00.000Z", 23], // from 01:00
    ["America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00:00.000Z", 23], // from 01:00
    ["Africa/Cairo", "2026-04-24T12:00:00Z", "2026-04-23T22:00:00.000Z", 23], // from 01:00
    ["Asia/Beirut", "2026-03-29T12:00:00Z", "2026-03-28T22:00:00.000Z", 23], // from 01:00
    ["America/Sao_Paulo", "2018-02-17T12:00:00Z", "2018-02-17T02:00:00.000Z", 25], // 23:00 twice
    ["America/St_Johns", "2010-11-07T02:31:00Z", "2010-11-07T02:30:00.000Z", 25], // put back to 23:01 at 00:01
    ["America/St_Johns", "2010-11-07T03:00:00Z", "2010-11-07T02:30:00.000Z", 25], // 23:30 of the day before
    ["Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-29T10:00:00.000Z", 24],
    ["Pacific/Apia", "2011-12-30T10:00:00Z", "2011-12-30T10:00:00.000Z", 24] // the 31st: there was no 30th
  ])("in %s at %s", (zone, at, startsAt, hours) => {
    const window = make("day", zone)(instant(at))
    assert.deepStrictEqual(shown(window), [startsAt, show(instant(startsAt) + hours * hour)])
  })

  it("has the name of its local date", () => {
    const apia = dayOf("Pacific/Apia")
    assert.strictEqual(apia(instant("2011-12-30T09:59:59.999Z")), "2011-12-29")
    assert.strictEqual(apia(instant("2011-12-30T10:00:00Z")), "2011-12-31")
    assert.strictEqual(apia(instant("2011-12-30T09:59:59.999Z")), "2011-12-29")
    assert.strictEqual(dayOf("UTC")(instant("2024-02-29T23:59:59.999Z")), "2024-02-29")
    assert.strictEqual(dayOf("UTC")(instant("0099-03-01T00:00:00Z")), "0099-03-01")
    const stJohns = dayOf("America/St_Johns")
    assert.strictEqual(stJohns(instant("2010-11-07T02:29:59Z")), "2010-11-06")
    assert.strictEqual(stJohns(instant("2010-11-07T03:00:00Z")), "2010-11-07") // it had begun at 02:30
  })
})

describe("an hour", () => {
  const around = (zone: string, from: string, count: number) => {
    const windowAt = make("hour", zone)
    const ends = [windowAt(instant(from)).startsAt]
    for (let i = 0; i < count; i++) ends.push(windowAt(ends[i] ?? 0).endsAt)
    return ends.map((at) => show(at).slice(11, 16))
  }

  it("follows the local clock", () => {
    assert.deepStrictEqual(around("UTC", "2026-11-28T12:34:56Z", 2), ["12:00", "13:00", "14:00"])
    assert.deepStrictEqual(around("Asia/Kathmandu", "2026-11-28T12:34:56Z", 2), ["12:15", "13:15", "14:15"])
  })

  it("that is repeated is another window", () => {
    assert.deepStrictEqual(around("Europe/Berlin", "2026-10-25T00:30:00Z", 3), ["00:00", "01:00", "02:00", "03:00"])
  })

  it("ends early where the clock is put back, and begins late where it is put forward", () => {
    const back = ["14:00", "15:00", "15:30", "16:30"] // 01:00 to 02:00, 01:30 to 02:00, 02:00 to 03:00
    assert.deepStrictEqual(around("Australia/Lord_Howe", "2026-04-04T14:20:00Z", 3), back)
    const forward = ["14:30", "15:30", "16:00", "17:00"] // 01:00 to 02:00, 02:30 to 03:00, 03:00 to 04:00
    assert.deepStrictEqual(around("Australia/Lord_Howe", "2026-10-03T14:40:00Z", 3), forward)
    const stJohns = ["01:30", "02:30", "02:31", "03:30", "04:30"] // 23, one minute of 0, 23 from its first minute, 0
    assert.deepStrictEqual(around("America/St_Johns", "2010-11-07T02:00:00Z", 4), stJohns)
  })
})

describe("weeks and months", () => {
  it("begin on Monday and on the first", () => {
    const at = instant("2026-11-28T12:00:00Z")
    assert.deepStrictEqual(shown(make("week", "UTC")(at)), ["2026-11-23T00:00:00.000Z", "2026-11-30T00:00:00.000Z"])
    assert.deepStrictEqual(shown(make("month", "UTC")(at)), ["2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z"])
    const berlin = make("month", "Europe/Berlin")(instant("2026-10-31T22:59:59.999Z"))
    assert.deepStrictEqual(shown(berlin), ["2026-09-30T22:00:00.000Z", "2026-10-31T23:00:00.000Z"])
    const december = make("month", "UTC")(instant("2023-12-31T23:59:59.999Z"))
    assert.deepStrictEqual(shown(december), ["2023-12-01T00:00:00.000Z", "2024-01-01T00:00:00.000Z"])
    const sunday = make("week", "UTC")(instant("1969-12-28T23:59:59.999Z"))
    assert.deepStrictEqual(shown(sunday), ["1969-12-22T00:00:00.000Z", "1969-12-29T00:00:00.000Z"])
  })

  it("have their leap days", () => {
    const length = (at: string) => {
      const { endsAt, startsAt } = make("month", "UTC")(instant(at))
      return (endsAt - startsAt) / day
    }
    assert.deepStrictEqual(
      ["1900-02-05", "2000-02-05", "2023-02-05", "2024-02-05", "2100-02-05"].map(length),
      [28, 29, 28, 29, 28]
    )
  })
})

describe("what can be no window", () => {
  it("throws for a zone that does not exist, and names it", () => {
    for (const zone of ["Mars/Olympus", "", "Europe/Berlin "]) {
      const message = `a zone must be the name of an IANA time zone, got "${zone}"`
      assert.throws(() => make("day", zone), RangeError, message)
      assert.throws(() => dayOf(zone), RangeError, message)
    }
    const period = "year" as Period // from a program without types
    assert.throws(() => make(period, "UTC"), RangeError, "a period must be hour, day, week or month, got year")
  })

  it("throws for an instant that no date can hold, and has a window for the first and the last one", () => {
    for (const zone of ["UTC", "Pacific/Kiritimati", "America/Los_Angeles"]) {
      for (const period of periods) {
        const windowAt = make(period, zone)
        for (const at of [Number.NaN, Infinity, -Infinity, 8.64e15 + 2, -8.64e15 - 2]) {
          assert.throws(() => windowAt(at), RangeError, "an instant must be")
        }
        for (const at of [8.64e15, -8.64e15]) {
          const { endsAt, startsAt } = windowAt(at)
          assert.isTrue(startsAt <= at && at < endsAt)
        }
      }
    }
    assert.strictEqual(dayOf("Pacific/Kiritimati")(8.64e15), "+275760-09-13")
    assert.strictEqual(dayOf("America/Los_Angeles")(-8.64e15), "-271821-04-19")
  })
})

describe("remembering", () => {
  it("asks nothing of Intl inside the last windows, and nothing at all for UTC", () => {
    const asked = vi.spyOn(Intl.DateTimeFormat.prototype, "formatToParts")
    try {
      const windowAt = make("day", "Europe/Berlin")
      const days = [0, 1, 2, 3].map((i) => instant("2026-11-28T12:00:00Z") + i * day)
      for (const at of days) windowAt(at)
      assert.isAbove(asked.mock.calls.length, 0)
      asked.mockClear()
      for (const at of days) for (let i = 0; i < 100; i++) windowAt(at + i)
      for (const period of periods) for (const at of days) make(period, "UTC")(at)
      assert.strictEqual(asked.mock.calls.length, 0)
    } finally {
      asked.mockRestore()
    }
  })
})

const zones = [
  "UTC",
  "Europe/Berlin",
  "Europe/London",
  "Europe/Dublin",
  "America/New_York",
  "America/St_Johns",
  "America/Sao_Paulo",
  "America/Santiago",
  "America/Asuncion",
  "America/Havana",
  "America/Caracas",
  "Africa/Cairo",
  "Africa/Casablanca",
  "Asia/Beirut",
  "Asia/Gaza",
  "Asia/Tehran",
  "Asia/Kathmandu",
  "Asia/Pyongyang",
  "Asia/Amman",
  "Antarctica/Troll",
  "Antarctica/Casey",
  "Atlantic/Azores",
  "Australia/Lord_Howe",
  "Pacific/Apia",
  "Pacific/Chatham",
  "Pacific/Kwajalein",
  "Pacific/Kiritimati"
] as const

const At = Schema.Int.check(Schema.isBetween({ minimum: Date.UTC(1990, 0), maximum: Date.UTC(2100, 0) }))

describe("in any zone, at any time", () => {
  it.effect.prop(
    "windows follow each other without gap or overlap, and hold the instant",
    { at: At, zone: Schema.Literals(zones), period: Schema.Literals(periods) },
    ({ at, period, zone }) =>
      Effect.sync(() => {
        const window = make(period, zone)(at)
        const { endsAt, startsAt } = window
        assert.isTrue(startsAt <= at && at < endsAt)
        const again = (other: number) => make(period, zone)(other)
        const inside = startsAt + Math.floor((endsAt - startsAt) * 0.37)
        for (const other of [startsAt, inside, endsAt - 1]) assert.deepStrictEqual(again(other), window)
        assert.strictEqual(again(endsAt).startsAt, endsAt)
        assert.strictEqual(again(startsAt - 1).endsAt, startsAt)
      })
  )

  it.effect.prop(
    "weeks and months end where a day does",
    { at: At, zone: Schema.Literals(zones), period: Schema.Literals(["week", "month"]) },
    ({ at, period, zone }) =>
      Effect.sync(() => {
        const { endsAt, startsAt } = make(period, zone)(at)
        const { date } = clock(zone)
        for (const edge of [startsAt, endsAt]) {
          assert.strictEqual(make("day", zone)(edge).startsAt, edge)
          assert.strictEqual(dayOf(zone)(edge), date(edge))
          const skipped = zone === "Pacific/Kwajalein" || zone === "Pacific/Apia" || zone === "Pacific/Kiritimati"
          if (period === "month") assert.isTrue(date(edge).endsWith("-01") || skipped)
          else assert.isTrue(new Date(date(edge)).getUTCDay() === 1 || skipped)
        }
      })
  )
})

/** The instants around which a zone's offset changes, found by its local time alone. */
const changes = (zone: string, from: number, to: number): ReadonlyArray<number> => {
  const { text } = clock(zone)
  const offset = (at: number) => Date.parse(`${text(at).replace(" ", "T")}Z`) - at
  const found: Array<number> = []
  for (let at = from; at < to; at += 6 * hour) if (offset(at) !== offset(at + 6 * hour)) found.push(at)
  return found
}

describe("minute by minute around each change of the clock", () => {
  it.each(zones.filter((zone) => zone !== "UTC"))("a day and an hour of %s are what its clock shows", (zone) => {
    const local = clock(zone)
    const dayAt = make("day", zone)
    const hourAt = make("hour", zone)
    const around = [
      ...changes(zone, Date.UTC(1993, 0), Date.UTC(1997, 0)),
      ...changes(zone, Date.UTC(2010), Date.UTC(2012, 3))
    ]
    for (const change of around) {
      const from = change - 2 * hour
      let latest = local.date(from)
      let before = local.text(from)
      for (let at = from + minute; at < change + 9 * hour; at += minute) {
        const text = local.text(at)
        const date = text.slice(0, 10)
        const begins = date > latest
        if (begins) latest = date
        assert.strictEqual(dayAt(at).startsAt === at, begins, `day ${zone} ${show(at)}`)
        const turns = text < before || text.slice(0, 13) !== before.slice(0, 13)
        assert.strictEqual(hourAt(at).startsAt === at, turns, `hour ${zone} ${show(at)}`)
        before = text
      }
    }
  })
})
