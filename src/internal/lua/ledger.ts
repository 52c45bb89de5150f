/** What is read of the ledger and taken out of it; `money.ts` says how it is kept. The first key is the stem. */
import { clock, numbers } from "./clock.ts"
import { money, split } from "./money.ts"

const linesKey = `
local linesKey = KEYS[1] .. "lines"
local int = function(n) return string.format("%.0f", n) end
`

/**
 * Up to so many lines from a number on, or from the first: first and last number of all, then the lines. The third
 * argument is how many are kept: what lies before is gone.
 */
export const page = `${linesKey}
local numbers = redis.call("HMGET", linesKey, "first", "next")
local first, last = tonumber(numbers[1] or 0), tonumber(numbers[2] or -1)
first = math.max(first, last - ARGV[3] + 1)
local from = math.max(first, tonumber(ARGV[1]))
local answer, wanted = { int(first), int(last) }, {}
for seq = from, math.min(last, from + ARGV[2] - 1) do wanted[#wanted + 1] = int(seq) end
if #wanted == 0 then return answer end
for _, line in ipairs(redis.call("HMGET", linesKey, unpack(wanted))) do
  if line then answer[#answer + 1] = line end
end
return answer
`

/** Takes away what has been moved: the lines from a number to another, up to 1,000, before which there are none. */
export const moved = `${linesKey}
local first, to = tonumber(redis.call("HGET", linesKey, "first") or 0), tonumber(ARGV[2])
if first == 0 or to < first then return 0 end
local gone = {}
for seq = math.max(first, tonumber(ARGV[1])), to do gone[#gone + 1] = int(seq) end
redis.call("HDEL", linesKey, unpack(gone))
redis.call("HSET", linesKey, "first", int(to + 1))
return 1
`

/** Takes what says whose they were out of the lines of a tenant, from one number to another. */
export const forgetLines = `${linesKey}${split}
for seq = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local line = redis.call("HGET", linesKey, int(seq))
  local parts = line and split(line)
  if parts and parts[8] == ARGV[3] then
    parts[8], parts[9], parts[10], parts[11] = "", "", "", ""
    redis.call("HSET", linesKey, int(seq), table.concat(parts, "\\n"))
  end
end
return 1
`

/** The same of the sums of a day, as far as one scan goes: answers where the next one begins. */
export const forgetSums = `${split}
local key = KEYS[1] .. "day:" .. ARGV[1]
local scan = redis.call("HSCAN", key, ARGV[2], "COUNT", 500)
for i = 1, #scan[2], 2 do
  local field = scan[2][i]
  local parts = split(string.sub(field, 2))
  local value = parts[3] == ARGV[3] and redis.call("HGET", key, field)
  if value then
    redis.call("HDEL", key, field)
    redis.call("HINCRBY", key, string.sub(field, 1, 1) .. parts[1] .. "\\n" .. parts[2] .. "\\n\\n\\n\\n", value)
  end
end
return scan[1]
`

/**
 * What is counted now in accounts, and what open leases hold. `ARGV`: most leases that are looked at, the number of the last
 * line that is known, and kind and slot of each account. Answers the number of the first line, the counters, the records of
 * leases, how many there are, and the lines behind the last one, up to 500, with how many there are.
 */
export const counted = `${linesKey}
local counters, records, later = {}, {}, {}
for i = 2, #KEYS do
  local kind, slot = ARGV[2 * i - 1], ARGV[2 * i]
  counters[i - 1] = (kind == "R" and redis.call("HGET", KEYS[i], slot) or kind == "W" and redis.call("GET", KEYS[i])) or "0"
end
local leases = redis.call("ZRANGE", KEYS[1] .. "expiries", 0, ARGV[1] - 1)
for i, lease in ipairs(leases) do records[i] = redis.call("GET", lease) or "" end
local numbers = redis.call("HMGET", linesKey, "first", "next")
local first, last = tonumber(numbers[1] or 0), tonumber(numbers[2] or -1)
local from = math.max(first, ARGV[2] + 1)
for seq = from, math.min(last, from + 499) do later[#later + 1] = redis.call("HGET", linesKey, int(seq)) or nil end
return { int(first), counters, records, redis.call("ZCARD", KEYS[1] .. "expiries"), later, last - from + 1 }
`

/**
 * Gives counters what they had at least, as long as there is no epoch. `ARGV`: milliseconds to add to the time, and kind,
 * slot, end and amount of each.
 */
export const restore = `${clock}${numbers}
if redis.call("EXISTS", KEYS[1] .. "epoch") == 1 then return 0 end
for i = 2, #KEYS do
  local from = 4 * i - 6
  local kind, slot, ends, amount = ARGV[from], ARGV[from + 1], tonumber(ARGV[from + 2]), tonumber(ARGV[from + 3])
  if ends > now and kind == "W" then
    if amount > tonumber(redis.call("GET", KEYS[i]) or 0) then
      redis.call("SET", KEYS[i], int(amount), "PX", life(ends - now))
    end
  elseif ends > now then
    if amount > tonumber(redis.call("HGET", KEYS[i], slot) or 0) then redis.call("HSET", KEYS[i], slot, int(amount)) end
    if redis.call("PTTL", KEYS[i]) < ends - now then redis.call("PEXPIRE", KEYS[i], life(ends - now)) end
  end
end
return 1
`

/** The server's time. */
export const time = `${clock}
return now
`

/** Nothing but what every script of money does first: answers whether more leases may have expired. */
export const tidy = `${clock}${numbers}${money}
return #due == 20 and 1 or 0
`
