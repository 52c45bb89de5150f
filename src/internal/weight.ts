/** How much memory a value of JSON takes, by an estimate that is rather too high. */

const perString = 24
const perProperty = 16
const perObject = 56

/**
 * Stops counting above `limit`, so that it ends for values that contain themselves, and takes no longer for huge ones. Strings
 * count two bytes for each UTF-16 unit.
 */
export const weightOf = (value: unknown, limit: number): number => {
  let weight = 0
  const rest: Array<unknown> = [value]
  while (rest.length > 0 && weight <= limit) {
    const next = rest.pop()
    if (typeof next === "string") weight += perString + 2 * next.length
    else if (ArrayBuffer.isView(next)) weight += perObject + next.byteLength
    else if (typeof next !== "object" || next === null) weight += perProperty
    else if (Array.isArray(next)) weight += perObject + pushItems(next, rest, limit)
    else weight += perObject + pushFields(next, rest, limit)
  }
  return weight
}

const pushItems = (items: ReadonlyArray<unknown>, rest: Array<unknown>, limit: number): number => {
  const weight = items.length * perProperty
  if (weight <= limit) for (const item of items) rest.push(item)
  return weight
}

const pushFields = (fields: object, rest: Array<unknown>, limit: number): number => {
  let weight = 0
  for (const [name, value] of Object.entries(fields)) {
    weight += perProperty + 2 * name.length
    if (weight > limit) break
    rest.push(value)
  }
  return weight
}
