/**
 * What the quota scripts begin with: the server's time, and the accounts of the entries they are given.
 *
 * `ARGV`: milliseconds to add to the server's time (tests let time pass with them), the number of entries, five for each of
 * them (kind, amount, limit and two of its own), and what the script wants itself. `KEYS`: that of each entry, and the
 * lease's. An account that several entries name is opened once. Amounts are integers and are written with `%.0f` (Lua
 * would write 1e+15 otherwise); only what is taken of a bucket has a fraction, and that is written with all its digits.
 */
export const accounts = `
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[1])
local longest = 10 * 365 * 86400000 -- a key lives for ten years at most
local tolerance = 1e-6 -- parts of a unit by which sums of fractions may miss a whole one
local int = function(n) return string.format("%.0f", n) end
local expire = function(key, millis)
  redis.call("PEXPIRE", key, int(math.max(1, math.min(longest, math.ceil(millis)))))
end

-- per kind: open reads an account as it is now; book takes (or gives back) what was admitted at an instant;
-- save writes it; wait says when what is too much is gone, or nil
local open, book, save, wait = {}, {}, {}, {}

-- Bucket: own1 is the refill per second. A clock that was put back refills nothing.
function open.B(a)
  local stored = redis.call("HMGET", a.key, "taken", "at")
  if stored[1] then
    a.taken = math.max(0, tonumber(stored[1]) - math.max(0, now - tonumber(stored[2])) * a.own1 / 1000)
  end
end

function book.B(a, amount)
  a.taken = math.max(0, a.taken + amount)
end

function save.B(a)
  if a.taken < tolerance then return redis.call("DEL", a.key) end
  redis.call("HSET", a.key, "taken", string.format("%.17g", a.taken), "at", int(now))
  expire(a.key, a.own1 > 0 and a.taken * 1000 / a.own1 or longest)
end

function wait.B(a, units)
  if a.own1 > 0 then return math.ceil((units - tolerance / 2) * 1000 / a.own1) end
end

-- Rolling: own1 is the width of a slot, own2 how many there are; the slot before the oldest of them counts whole.
-- A slot that lies ahead, since the clock was put back, becomes the current one.
function open.R(a)
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

function book.R(a, amount, at)
  local slot = math.floor(math.min(at, now) / a.own1)
  if slot < math.floor(now / a.own1) - a.own2 then return end
  local before = a.slots[slot] or 0
  a.slots[slot] = math.max(0, before + amount)
  a.taken = a.taken + a.slots[slot] - before
  a.changed[slot] = true
end

function save.R(a)
  for slot in pairs(a.changed) do
    local amount = a.slots[slot] or 0
    if amount > 0 then
      redis.call("HSET", a.key, int(slot), int(amount))
    else
      redis.call("HDEL", a.key, int(slot))
    end
  end
  expire(a.key, a.own1 * (a.own2 + 1))
end

function wait.R(a, units)
  local slots = {}
  for slot in pairs(a.slots) do slots[#slots + 1] = slot end
  table.sort(slots)
  for _, slot in ipairs(slots) do
    units = units - a.slots[slot]
    if units <= 0 then return (slot + a.own2 + 1) * a.own1 - now end
  end
end

-- Window: own1 is where it begins, own2 where it ends. One that has ended holds nothing.
function open.W(a)
  if now < a.own2 then a.taken = tonumber(redis.call("GET", a.key) or 0) end
end

function book.W(a, amount)
  a.taken = math.max(0, a.taken + amount)
end

function save.W(a)
  if now >= a.own2 then return end
  redis.call("SET", a.key, int(a.taken), "PX", int(math.min(longest, math.ceil(a.own2 - now))))
end

function wait.W(a)
  if now < a.own1 then return a.own1 - now end
  if now < a.own2 then return a.own2 - now end
end

-- Concurrency: a sorted set of who holds how much until when, as "amount:entry:lease"; the member "" has the negative sum
-- as its score, so that what has expired lies between.
function open.C(a)
  a.taken = -tonumber(redis.call("ZSCORE", a.key, "") or 0)
  for _, member in ipairs(redis.call("ZRANGEBYSCORE", a.key, "(0", int(now))) do
    a.taken = a.taken - tonumber(string.match(member, "^%d+"))
  end
end

function book.C(a, amount)
  a.taken = a.taken + amount
end

function save.C(a)
  redis.call("ZREMRANGEBYSCORE", a.key, "(0", int(now))
  redis.call("ZADD", a.key, int(-a.taken), "")
  local last = redis.call("ZREVRANGE", a.key, 0, 0, "WITHSCORES")
  if last[1] == "" then return redis.call("DEL", a.key) end
  expire(a.key, tonumber(last[2]) - now)
end

function wait.C() end

local entries, opened, count = {}, {}, tonumber(ARGV[2])
for i = 1, count do
  local from, key = 5 * i - 2, KEYS[i]
  local kind = ARGV[from]
  if not opened[key] then
    local own1, own2 = tonumber(ARGV[from + 3]), tonumber(ARGV[from + 4])
    opened[key] = { key = key, kind = kind, taken = 0, own1 = own1, own2 = own2, booked = 0 }
    opened[key].limit = tonumber(ARGV[from + 2])
    open[kind](opened[key])
  end
  entries[i] = { account = opened[key], amount = tonumber(ARGV[from + 1]) }
end

local left = function(a) return math.floor(a.limit - a.taken + tolerance) end
local own = function(i) return ARGV[2 + 5 * count + i] end
local lease = KEYS[count + 1]
local member = function(i, amount) return int(amount) .. ":" .. i .. ":" .. lease end
`
