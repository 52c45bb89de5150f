/**
 * What the quota scripts begin with: the server's time, and the accounts of the entries they are given.
 *
 * `ARGV`: milliseconds to add to the server's time (tests let time pass with them), the number of entries, five for each of
 * them (kind, amount, limit and two of its own), and what the script wants itself. `KEYS`: that of each entry, and the
 * lease's. An account that several entries name is opened once. Amounts are integers: as members and values they are
 * written with `%.0f` (Lua would write 1e+15 otherwise). Every function here is made anew for each call of a script, so
 * there are few.
 */
import { bucket } from "./bucket.ts"
import { clock, numbers } from "./clock.ts"

const kinds = `
-- Rolling: own1 is the width of a slot, own2 how many there are; the slot before the oldest of them counts whole.
-- A slot that lies ahead, since the clock was put back, becomes the current one.
local openRolling = function(a)
  a.slots, a.changed = {}, {}
  local stored = redis.call("HGETALL", a.key)
  local current = math.floor(now / a.own1)
  for i = 1, #stored, 2 do
    local slot, amount = tonumber(stored[i]), tonumber(stored[i + 1])
    if slot > current then
      a.changed[slot], a.changed[current] = true, true
      slot = current
    end
    if slot < current - a.own2 then
      a.changed[slot] = true
    else
      a.slots[slot] = (a.slots[slot] or 0) + amount
      a.taken = a.taken + amount
    end
  end
end

-- Window: own1 is where it begins, own2 where it ends. One that has ended holds nothing.
-- Concurrency: a sorted set of who holds how much until when, as "amount:entry:lease"; the member "" has the negative sum
-- as its score, so that what has expired lies between.
local open = function(a)
  if a.kind == "B" then
    openBucket(a)
  elseif a.kind == "R" then
    openRolling(a)
  elseif a.kind == "W" then
    if now < a.own2 then a.taken = tonumber(redis.call("GET", a.key) or 0) end
  else
    a.taken = -tonumber(redis.call("ZSCORE", a.key, "") or 0)
    for _, member in ipairs(redis.call("ZRANGEBYSCORE", a.key, "(0", now)) do
      a.taken = a.taken - tonumber(string.match(member, "^%d+"))
    end
  end
end

local bookRolling = function(a, amount, at)
  local slot = math.floor(math.min(at, now) / a.own1)
  if slot < math.floor(now / a.own1) - a.own2 then return end
  local before = a.slots[slot] or 0
  a.slots[slot] = math.max(0, before + amount)
  a.taken = a.taken + a.slots[slot] - before
  a.changed[slot] = true
end

local take = function(a, amount)
  if a.kind == "B" then return takeBucket(a, amount) end
  if a.kind == "R" then return bookRolling(a, amount, now) end
  a.taken = a.taken + amount
end

local correct = function(a, amount, used, at)
  if a.kind == "R" then return bookRolling(a, used - amount, at) end
  if used >= amount then return take(a, used - amount) end
  if a.kind == "B" then return giveBack(a, amount, used, at) end
  a.taken = math.max(0, a.taken - (amount - used))
end

local saveRolling = function(a)
  for slot in pairs(a.changed) do
    local amount = a.slots[slot] or 0
    if amount > 0 then
      redis.call("HSET", a.key, int(slot), int(amount))
    else
      redis.call("HDEL", a.key, int(slot))
    end
  end
  redis.call("PEXPIRE", a.key, life(a.own1 * (a.own2 + 1)))
end

local save = function(a)
  if a.kind == "B" then
    saveBucket(a)
  elseif a.kind == "R" then
    saveRolling(a)
  elseif a.kind == "W" then
    if now < a.own2 then redis.call("SET", a.key, int(a.taken), "PX", life(a.own2 - now)) end
  else
    redis.call("ZREMRANGEBYSCORE", a.key, "(0", now)
    redis.call("ZADD", a.key, int(-a.taken), "")
    local last = redis.call("ZREVRANGE", a.key, 0, 0, "WITHSCORES")
    if last[1] == "" then return redis.call("DEL", a.key) end
    redis.call("PEXPIRE", a.key, life(tonumber(last[2]) - now))
  end
end

-- until so many units are given back, by time alone; nil where they never are
local wait = function(a, units)
  if a.kind == "B" then return waitBucket(a, units) end
  if a.kind == "W" then
    if now < a.own1 then return a.own1 - now end
    return now < a.own2 and a.own2 - now or nil
  end
  if a.kind == "C" then return nil end
  local slots = {}
  for slot in pairs(a.slots) do slots[#slots + 1] = slot end
  table.sort(slots)
  for _, slot in ipairs(slots) do
    units = units - a.slots[slot]
    if units <= 0 then return (slot + a.own2 + 1) * a.own1 - now end
  end
end
`

const named = `
local entries, opened, count = {}, {}, tonumber(ARGV[2])
for i = 1, count do
  local from, key = 5 * i - 2, KEYS[i]
  local a = opened[key]
  if not a then
    a = { key = key, kind = ARGV[from], taken = 0, asked = 0, limit = tonumber(ARGV[from + 2]) }
    a.own1, a.own2 = tonumber(ARGV[from + 3]), tonumber(ARGV[from + 4])
    opened[key] = a
    if not settles then open(a) end
  end
  entries[i] = { account = a, amount = tonumber(ARGV[from + 1]) }
end

local own = 2 + 5 * count -- before the first argument of the script itself
local lease = KEYS[count + 1]
local member = function(i, amount) return int(amount) .. ":" .. i .. ":" .. lease end
`

/**
 * `settles`: accounts are opened only where something changes, and a bucket is refilled as who took from it last said, not as
 * the lease did.
 */
export const accounts = (settles = false): string =>
  `${clock}${numbers}local settles = ${settles}\n${bucket}${kinds}${named}`
