/**
 * A partition of vectors: a hash of them, a hash of what they stand for, and when each of them ends. Where nothing ends, nothing
 * of it counts. Two lists of partitions, of the whole index and of a tenant, say until when there may be something in each.
 */

/** What every vector of this version begins with; behind it are its dimensions, its tenant and its bytes. */
const mark = "v1"

/** Lowers nothing: what is listed already may end later. Lists and partitions live as long as what ends last. */
const list = `
local function live(key, ends)
  local last = redis.call("ZRANGE", ends, -1, -1, "WITHSCORES")
  if last[2] then redis.call("PEXPIRE", key, string.format("%.0f", math.max(1, tonumber(last[2]) - now))) end
  return last[2]
end
local function list(key, name, ends)
  redis.call("ZREMRANGEBYSCORE", key, "-inf", now)
  local known = redis.call("ZSCORE", key, name)
  if not known or tonumber(known) < tonumber(ends) then redis.call("ZADD", key, ends, name) end
  live(key, key)
end
local function drop(ids)
  for _, id in ipairs(ids) do
    redis.call("HDEL", KEYS[1], id)
    redis.call("HDEL", KEYS[2], id)
    redis.call("ZREM", KEYS[3], id)
  end
end
`

/**
 * KEYS: vectors, texts, ends, partitions, partitions of the tenant. ARGV: id, now, end, most items, dimensions, tenant, bytes,
 * text, partition. Answers 0 where the partition has other dimensions. A hundred items go at most.
 */
export const add = `
local now = tonumber(ARGV[2])
${list}
if redis.call("EXISTS", KEYS[3]) == 0 then redis.call("UNLINK", KEYS[1], KEYS[2]) end
drop(redis.call("ZRANGEBYSCORE", KEYS[3], "-inf", now, "LIMIT", 0, 100))
local some = redis.call("ZREVRANGEBYSCORE", KEYS[3], "+inf", "(" .. ARGV[2], "LIMIT", 0, 1)[1]
local head = "${mark} " .. ARGV[5] .. " "
local first = some and redis.call("HGET", KEYS[1], some)
if first and string.sub(first, 1, #head) ~= head then return 0 end
redis.call("HSET", KEYS[1], ARGV[1], head .. ARGV[6] .. " " .. ARGV[7])
redis.call("HSET", KEYS[2], ARGV[1], ARGV[8])
redis.call("ZADD", KEYS[3], ARGV[3], ARGV[1])
local excess = redis.call("ZCARD", KEYS[3]) - tonumber(ARGV[4])
if excess > 0 then drop(redis.call("ZRANGE", KEYS[3], 0, math.min(excess, 100) - 1)) end
local ends = live(KEYS[3], KEYS[3])
live(KEYS[1], KEYS[3])
live(KEYS[2], KEYS[3])
list(KEYS[4], ARGV[9], ends)
list(KEYS[5], ARGV[9], ends)
return 1
`

/**
 * KEYS: vectors, ends. ARGV: now, most items, dimensions, most bytes of one. Answers ids and vectors by turns, those that end
 * last first; a vector that is none, or has other dimensions, is left out.
 */
export const nearest = `
local ids = redis.call("ZREVRANGEBYSCORE", KEYS[2], "+inf", "(" .. ARGV[1], "LIMIT", 0, ARGV[2])
local head = "${mark} " .. ARGV[3] .. " "
local found = {}
for _, id in ipairs(ids) do
  local text = redis.call("HGET", KEYS[1], id)
  if text and #text <= tonumber(ARGV[4]) and string.sub(text, 1, #head) == head then
    found[#found + 1] = id
    found[#found + 1] = string.sub(text, #head + 1)
  end
end
return found
`

/** KEYS: texts. ARGV: most bytes, ids. Answers a text, or nothing where it is gone or too long, for each. */
export const texts = `
local found = {}
for i = 2, #ARGV do
  local text = redis.call("HGET", KEYS[1], ARGV[i])
  found[#found + 1] = text and #text <= tonumber(ARGV[1]) and text or ""
end
return found
`

/** KEYS: vectors, texts, ends. ARGV: id. */
export const remove = `
redis.call("HDEL", KEYS[1], ARGV[1])
redis.call("HDEL", KEYS[2], ARGV[1])
redis.call("ZREM", KEYS[3], ARGV[1])
`

/** KEYS: vectors, texts, ends, a list of partitions. ARGV: partition, the tenant whose items go, or "" for all; what has no owner goes, too. */
export const clear = `
if ARGV[2] == "" then redis.call("UNLINK", KEYS[1], KEYS[2], KEYS[3])
else
  for i = 1, 2 do
    for _, id in ipairs(redis.call("HKEYS", KEYS[i])) do
      local text = redis.call("HGET", KEYS[1], id)
      local owner = text and string.match(string.sub(text, 1, 100), "^${mark} %d+ (%S+) ")
      if not owner or owner == ARGV[2] then
        redis.call("HDEL", KEYS[1], id)
        redis.call("HDEL", KEYS[2], id)
        redis.call("ZREM", KEYS[3], id)
      end
    end
  end
end
redis.call("ZREM", KEYS[4], ARGV[1])
`
