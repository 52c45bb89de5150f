/**
 * A bucket in one string of seven doubles: what is taken, until when that was refilled and by how much per second, and the
 * lows of two epochs, which bound what a settle gives back. `quotas.ts` says why, and does the same.
 *
 * `own1` is the refill per second of who asks. A clock that was put back refills nothing. The names are those of local
 * variables, or of fields behind `a.`: a script for one bucket is half as long without functions and tables.
 */
const opened = (a: "" | "a."): string => `
${a}taken, ${a}rate, ${a}since, ${a}low, ${a}before, ${a}lowBefore = 0, ${a}own1, now, 0, now, 0
local stored = redis.call("GET", ${a}key)
if stored then
  local at
  ${a}taken, at, ${a}rate, ${a}since, ${a}low, ${a}before, ${a}lowBefore = struct.unpack("<ddddddd", stored)
  if now < at then
    ${a}since, ${a}low, ${a}before, ${a}lowBefore = at + 1, 0, at + 1, 0
  elseif now > at then
    ${a}taken = ${a}taken - (now - at) * ${a}rate / 1000
    if ${a}taken < tolerance then
      ${a}taken, ${a}since, ${a}low, ${a}before, ${a}lowBefore = 0, now, 0, now, 0
    else
      if ${a}taken < ${a}low then ${a}low = ${a}taken end
      if (now - ${a}since) * ${a}rate >= 500 * ${a}limit then
        ${a}before, ${a}lowBefore, ${a}since, ${a}low = ${a}since, ${a}low, now, ${a}taken
      end
    end
  end
  if ${a}rate ~= ${a}own1 and not settles then
    ${a}rate, ${a}since, ${a}low, ${a}before, ${a}lowBefore = ${a}own1, now, ${a}taken, now, ${a}taken
  end
end
`

/** Takes an amount; who is admitted as an epoch begins is counted in its low. */
const taken = (a: "" | "a."): string => `
${a}taken = ${a}taken + amount
if now == ${a}since then ${a}low = ${a}low + amount end
`

const saved = (a: "" | "a."): string => `
if ${a}taken < tolerance then
  redis.call("DEL", ${a}key)
else
  local state = struct.pack("<ddddddd", ${a}taken, now, ${a}rate, ${a}since, ${a}low, ${a}before, ${a}lowBefore)
  local life = ${a}rate > 0 and ${a}taken * 1000 / ${a}rate or longest
  redis.call("SET", ${a}key, state, "PX", math.min(longest, math.ceil(life)))
end
`

const constants = `
local tolerance = 1e-6 -- parts of a unit by which sums of fractions may miss a whole one
`

/**
 * For one bucket after the other, each for itself. `ARGV`: milliseconds to add to the time, and for each key the amount, the
 * capacity and the refill per second. Answers the time, and for each key what is left and how long to wait: 0 where it was
 * taken, -1 where time will not help.
 */
export const eachBucket = `${constants}
local settles = false
local answer = { now }
for i, key in ipairs(KEYS) do
  local amount, limit, own1 = tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i]), tonumber(ARGV[3 * i + 1])
  local taken, rate, since, low, before, lowBefore
  ${opened("")}
  local millis = 0
  if taken + amount <= limit + tolerance then
    ${taken("")}
    ${saved("")}
  else
    millis = -1
    if amount <= limit and own1 > 0 then
      millis = math.max(1, math.min(9e15, math.ceil((taken + amount - limit - tolerance / 2) * 1000 / own1)))
    end
  end
  answer[2 * i] = math.floor(limit - taken + tolerance)
  answer[2 * i + 1] = millis
end
return answer
`

export const bucket = `${constants}
local left = function(a) return math.floor(a.limit - a.taken + tolerance) end

local openBucket = function(a)
  ${opened("a.")}
end

local takeBucket = function(a, amount)
  ${taken("a.")}
end

local giveBack = function(a, amount, used, at)
  if at < a.before then return end
  local own = math.max(0, amount - math.max(0, now - at) * a.rate / 1000)
  local least = at < a.since and math.min(a.low, a.lowBefore) or a.low
  local bound = (at == a.since or at == a.before) and math.max(least, own) or least + own
  local refund = math.min(amount - used, bound)
  local lowOf = function(low, start)
    return at > start and math.min(low, bound - refund) or math.max(low, bound) - refund
  end
  a.low = lowOf(a.low, a.since)
  if at < a.since then a.lowBefore = lowOf(a.lowBefore, a.before) end
  a.taken = a.taken - refund
  if a.taken < tolerance then a.taken = 0 end
end

local saveBucket = function(a)
  ${saved("a.")}
end

local waitBucket = function(a, units)
  if a.own1 > 0 then return math.ceil((units - tolerance / 2) * 1000 / a.own1) end
end
`
