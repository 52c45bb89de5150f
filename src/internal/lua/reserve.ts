/** Takes every entry or none. Answers granted, the entry that did not fit, how long to wait, the time, what is left. */
import { accounts } from "./accounts.ts"

/** Of its own: the ttl of the lease, and how long its record outlives it. */
export const reserve = `${accounts}
local ttl, remembered = tonumber(own(1)), tonumber(own(2))
local answer = function(granted, entry, retryAfter, remaining)
  return { granted, entry, int(retryAfter), int(now), unpack(remaining) }
end

local remaining = {}
for i, entry in ipairs(entries) do remaining[i] = int(left(entry.account)) end
-- taken before, or settled before it was taken
if redis.call("EXISTS", lease) == 1 then return answer(0, 0, -1, remaining) end

local over = function(a)
  return left(a) < 0 or (a.kind == "W" and (now < a.own1 or now >= a.own2))
end
local denied
for i, entry in ipairs(entries) do
  local a = entry.account
  book[a.kind](a, entry.amount, now)
  a.booked = a.booked + entry.amount
  if not denied and over(a) then denied = i end
end

if denied then
  local longestWait = 0
  for _, a in pairs(opened) do
    if over(a) then
      local millis = a.booked <= a.limit and wait[a.kind](a, a.taken - a.limit)
      if not millis then return answer(0, denied - 1, -1, remaining) end
      longestWait = math.max(longestWait, millis)
    end
  end
  return answer(0, denied - 1, longestWait, remaining)
end

for i, entry in ipairs(entries) do
  local a = entry.account
  if a.kind == "C" then redis.call("ZADD", a.key, int(now + ttl), member(i, entry.amount)) end
  remaining[i] = int(left(a))
end
for _, a in pairs(opened) do save[a.kind](a) end
redis.call("SET", lease, int(now), "PX", int(ttl + remembered))
return answer(1, 0, -1, remaining)
`
