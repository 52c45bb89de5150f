/**
 * Hours, days, weeks and months of a time zone as windows that follow each other without gap or overlap. A day begins at its
 * first instant, which is 01:00 where the clock skips midnight, and ends at the next day's; so do weeks (from Monday) and
 * months. An hour is one of the local clock, and ends early where that is put back: the repeated hour is another window.
 */

export type Period = "hour" | "day" | "week" | "month"

/** Instants in milliseconds; `endsAt` is the next window's `startsAt`. */
export interface Window {
  readonly startsAt: number
  readonly endsAt: number
}

/**
 * The window of a period that an instant lies in. The last windows are remembered. Throws a `RangeError` for an unknown zone,
 * and when it is asked for an instant that no `Date` can hold.
 */
export const make = (period: Period, zone: string): ((at: number) => Window) => {
  const rule = Object.hasOwn(rules, period) ? rules[period] : undefined
  if (rule === undefined) throw new RangeError(`a period must be hour, day, week or month, got ${period}`)
  const offsetAt = offsets(zone)
  const find = period === "hour" ? clockHour : calendarPeriod
  const recent: Array<Window> = []
  return (at) => {
    for (const window of recent) if (at >= window.startsAt && at < window.endsAt) return window
    if (!(Math.abs(at) <= lastInstant)) throw new RangeError(`an instant must be within ±8.64e15 ms, got ${at}`)
    const found = find(rule, offsetAt, at)
    if (recent.unshift(found) > mostRecent) recent.pop()
    return found
  }
}

const lastInstant = 8.64e15
const mostRecent = 4

/** The name of the day whose window holds an instant, for example `"2026-11-28"`. */
export const dayOf = (zone: string): ((at: number) => string) => {
  const offsetAt = offsets(zone)
  const dayAt = make("day", zone)
  let last: Window | undefined
  let name = ""
  return (at) => {
    const window = dayAt(at)
    if (window !== last) {
      last = window
      name = nameOf(Math.floor((window.startsAt + offsetAt(window.startsAt)) / day))
    }
    return name
  }
}

/** What the local clock is ahead of UTC at an instant, in milliseconds. */
type OffsetAt = (at: number) => number

/** Local times are milliseconds too, of a clock that shows them as UTC would. */
interface Rule {
  /** When the period began, by the local clock. */
  readonly floor: (local: number) => number
  /** When the one that began then is over. */
  readonly next: (start: number) => number
}

const hour = 3_600_000
const day = 24 * hour

const rules: Readonly<Record<Period, Rule>> = {
  hour: { floor: (local) => Math.floor(local / hour) * hour, next: (start) => start + hour },
  day: { floor: (local) => Math.floor(local / day) * day, next: (start) => start + day },
  // 1970 began on a Thursday
  week: { floor: (local) => (Math.floor((local / day + 3) / 7) * 7 - 3) * day, next: (start) => start + 7 * day },
  month: { floor: (local) => monthOf(local), next: (start) => monthOf(start + 31 * day) }
}

const monthOf = (local: number): number => {
  const days = Math.floor(local / day)
  return (days - civil(days).day + 1) * day
}

/** A day that has begun goes on, also when the clock is put back before its midnight. */
const calendarPeriod = (rule: Rule, offsetAt: OffsetAt, at: number): Window => {
  const begins = (local: number): number => firstAt(stretches(offsetAt, local - day, local + day), local)
  let start = rule.floor(at + offsetAt(at))
  let startsAt = begins(start)
  for (;;) {
    start = rule.next(start)
    const endsAt = begins(start)
    if (endsAt > at) return { startsAt, endsAt }
    startsAt = endsAt
  }
}

const clockHour = (rule: Rule, offsetAt: OffsetAt, at: number): Window => {
  const all = stretches(offsetAt, at - hour, at + 2 * hour)
  const putBack = all.filter((one, i) => one.offset < (all[i - 1]?.offset ?? one.offset)).map(({ from }) => from)
  const from = putBack.findLast((change) => change <= at) ?? -Infinity
  const to = putBack.find((change) => change > at) ?? Infinity
  const run = all.filter((one, i) => one.from < to && (all[i + 1]?.from ?? Infinity) > from)
  const start = rule.floor(at + offsetAt(at))
  return { startsAt: firstAt(run, start), endsAt: Math.min(to, firstAt(run, rule.next(start))) }
}

/** A time without a change of the clock, until the next one. */
interface Stretch {
  readonly from: number
  readonly offset: number
}

/** Zones change their clocks days apart; what changes and changes back within these hours is not seen. */
const step = 3 * hour

const stretches = (offsetAt: OffsetAt, from: number, to: number): ReadonlyArray<Stretch> => {
  let offset = offsetAt(from)
  const found = [{ from, offset }]
  for (let at = from; at < to;) {
    let next = Math.min(at + step, to)
    if (offsetAt(next) !== offset) {
      while (next - at > 1) {
        const middle = Math.floor((at + next) / 2)
        if (offsetAt(middle) === offset) at = middle
        else next = middle
      }
      offset = offsetAt(next)
      found.push({ from: next, offset })
    }
    at = next
  }
  return found
}

/** The first instant at which the clock shows a local time, or a later one. */
const firstAt = (all: ReadonlyArray<Stretch>, local: number): number => {
  let at = local
  for (const [i, { from, offset }] of all.entries()) {
    at = Math.max(from, local - offset)
    if (at < (all[i + 1]?.from ?? Infinity)) break
  }
  return at
}

const offsets = (zone: string): OffsetAt => {
  if (zone === "UTC") return () => 0
  const format = formatOf(zone)
  return (at) => {
    const second = Math.floor(Math.max(-lastInstant, Math.min(at, lastInstant)) / 1000) * 1000
    return localTime(format.formatToParts(second)) - second
  }
}

const formatOf = (timeZone: string): Intl.DateTimeFormat => {
  try {
    return new Intl.DateTimeFormat("en-US", {
      timeZone,
      calendar: "gregory",
      numberingSystem: "latn",
      hourCycle: "h23",
      era: "short",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric"
    })
  } catch (cause) {
    throw new RangeError(`a zone must be the name of an IANA time zone, got ${JSON.stringify(timeZone)}`, { cause })
  }
}

const localTime = (parts: ReadonlyArray<Intl.DateTimeFormatPart>): number => {
  const of = (type: Intl.DateTimeFormatPartTypes): string => parts.find((part) => part.type === type)?.value ?? ""
  const year = of("era") === "BC" ? 1 - Number(of("year")) : Number(of("year"))
  const days = daysSince1970(year, Number(of("month")), Number(of("day")))
  return days * day + Number(of("hour")) * hour + Number(of("minute")) * 60_000 + Number(of("second")) * 1000
}

// Days and dates without `Date`, whose range a local time may leave: Howard Hinnant, "chrono-compatible low-level date algorithms".

const daysSince1970 = (year: number, month: number, dayOfMonth: number): number => {
  const y = month <= 2 ? year - 1 : year
  const era = Math.floor(y / 400)
  const yearOfEra = y - era * 400
  const dayOfYear = Math.floor((153 * (month + (month > 2 ? -3 : 9)) + 2) / 5) + dayOfMonth - 1
  return era * 146_097 + yearOfEra * 365 + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100) + dayOfYear - 719_468
}

const civil = (days: number) => {
  const z = days + 719_468
  const era = Math.floor(z / 146_097)
  const dayOfEra = z - era * 146_097
  const leapDays = Math.floor(dayOfEra / 1460) - Math.floor(dayOfEra / 36_524) + Math.floor(dayOfEra / 146_096)
  const yearOfEra = Math.floor((dayOfEra - leapDays) / 365)
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100))
  const month = Math.floor((5 * dayOfYear + 2) / 153)
  return {
    year: yearOfEra + era * 400 + (month < 10 ? 0 : 1),
    month: month + (month < 10 ? 3 : -9),
    day: dayOfYear - Math.floor((153 * month + 2) / 5) + 1
  }
}

/** As `Date` writes it, with a sign and six digits beyond the years 0 to 9999. */
const nameOf = (days: number): string => {
  const { day: dayOfMonth, month, year } = civil(days)
  const digits = String(Math.abs(year)).padStart(year >= 0 && year <= 9999 ? 4 : 6, "0")
  const sign = year < 0 ? "-" : year > 9999 ? "+" : ""
  return `${sign}${digits}-${String(month).padStart(2, "0")}-${String(dayOfMonth).padStart(2, "0")}`
}
