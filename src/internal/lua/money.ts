/**
 * What the scripts of money share. Their last key is the stem of all that belongs to money, and their last two arguments are
 * how many lines are kept, and `1` where a durable ledger takes them away.
 *
 * `<stem>lines` is a hash of the lines by their number, with the numbers `first` and `next`; these begin at the time, so that
 * a new hash never repeats those of a lost one. A line is its parts, each with a line feed behind it: id, time, amount,
 * outcome, subject, charge, postings, tenant, identity, note; all texts are JSON, which holds no line feed.
 * `<stem>expiries` has the leases of money by when they expire. The record of a lease is `at`, a blank and parts as well: nine
 * of the subject (id, subject, identity, day, provider, model, tenant, user, feature) and five for each entry of money (kind,
 * two of its own, amount, account). One that has expired is `x` and `at`.
 * `<stem>day:<day>` has the sums of one day: a letter for what is summed and the five parts that are told apart.
 */
const names = `
local stem = KEYS[#KEYS]
local epochKey, expiriesKey, linesKey = stem .. "epoch", stem .. "expiries", stem .. "lines"
local maxLines, durable = tonumber(ARGV[#ARGV - 1]), ARGV[#ARGV] == "1"
local kept, late = 400 * 86400000, 86400000 -- days with their sums, and expired leases
`

export const split = `
local split = function(text)
  local parts = {}
  for part in string.gmatch(text, "([^\\n]*)\\n") do parts[#parts + 1] = part end
  return parts
end
`

/** Most fields that a day is summed in. */
const sums = `
local maxFields = 100000
local measures = { "c", "a", "s", "i", "o" }

-- one that finds no room is summed without saying whose it was
local sum = function(about, values)
  local key, fresh = stem .. "day:" .. about[4], false
  local group = table.concat(about, "\\n", 5, 9) .. "\\n"
  if redis.call("HEXISTS", key, "c" .. group) == 0 then
    local fields = redis.call("HLEN", key)
    if fields >= maxFields then group = "\\n\\n\\n\\n\\n" end
    fresh = fields == 0
    if fresh then
      redis.call("ZREMRANGEBYSCORE", stem .. "days", "-inf", int(now))
      redis.call("ZADD", stem .. "days", int(now + kept), about[4])
      redis.call("PEXPIRE", stem .. "days", kept)
    end
  end
  for i, measure in ipairs(measures) do
    if i == 1 or values[i] ~= 0 then redis.call("HINCRBY", key, measure .. group, int(values[i])) end
  end
  if fresh then redis.call("PEXPIRE", key, kept) end
end
`

const lines = `
local posting = function(kind, own1, own2, at, account, amount)
  local slot, ends = 0, own2
  if kind == "R" then
    slot = math.floor(at / own1)
    ends = (slot + own2 + 1) * own1
  end
  return '{"account":' .. account .. ',"slot":' .. int(slot) .. ',"endsAt":' .. int(ends) .. ',"amount":' .. int(amount) .. "}"
end

-- charge: outcome, its JSON, the note, what was saved, tokens in and out
local write = function(about, id, amount, charge, postings)
  local seq = redis.call("HINCRBY", linesKey, "next", 1)
  if seq == 1 then
    seq = now * 1000
    redis.call("HSET", linesKey, "first", int(seq), "next", int(seq))
  end
  local posted = "[" .. table.concat(postings, ",") .. "]"
  local line = { id, int(now), int(amount), charge[1], about[2], charge[2], posted, about[7], about[3], charge[3], "" }
  redis.call("HSET", linesKey, int(seq), table.concat(line, "\\n"))
  redis.call("PEXPIRE", linesKey, kept)
  if durable then return end
  redis.call("HDEL", linesKey, int(seq - maxLines))
  local charges = (charge[1] == "corrected" or charge[1] == "saved") and 0 or 1
  sum(about, { charges, amount, charge[4], charge[5], charge[6] })
end

local full = function()
  if not durable then return false end
  local numbers = redis.call("HMGET", linesKey, "first", "next")
  return numbers[1] and numbers[2] - numbers[1] + 1 >= maxLines
end
`

const sweep = `
-- the record says of which entries it was; the counters keep what was reserved
local expire = function(key, record)
  local at, text = string.match(record, "^(%d+) (.*)$")
  local parts = split(text)
  local amount, postings = tonumber(parts[13]), {}
  for i = 10, #parts, 5 do
    local own1, own2 = tonumber(parts[i + 1]), tonumber(parts[i + 2])
    local reserved = tonumber(parts[i + 3])
    if reserved > 0 then
      postings[#postings + 1] = posting(parts[i], own1, own2, tonumber(at), parts[i + 4], reserved)
    end
  end
  redis.call("SET", key, "x" .. at, "PX", late)
  write(parts, parts[1], amount, { "expired", "{}", "", 0, 0, 0 }, postings)
end

local due = redis.call("ZRANGEBYSCORE", expiriesKey, "-inf", int(now), "LIMIT", 0, 20)
for _, key in ipairs(due) do
  redis.call("ZREM", expiriesKey, key)
  local record = redis.call("GET", key)
  if record and string.match(record, "^%d") then expire(key, record) end
end
`

/** Behind the time and `int`: lines, and the leases that have expired become some of them. */
export const money = `${names}${split}${sums}${lines}${sweep}`

/** Ends the script where the counters are not those that its epoch knew, or no line can be kept. */
export const guarded = (epoch: string): string => `
if redis.call("GET", epochKey) ~= ${epoch} then return redis.error_reply("EPOCH lost") end
if full() then return redis.error_reply("BACKLOG full") end
`
