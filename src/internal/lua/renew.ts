/** Lets the leases of one process live on: their records, and what they hold of concurrency quotas. */

/**
 * `KEYS[i]` is a lease or a concurrency quota, `ARGV[2 * i]` nothing or who holds it, `ARGV[2 * i + 1]` for how long.
 * What has been freed is not taken again.
 */
export const renew = `
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[1])
for i, key in ipairs(KEYS) do
  local member, millis = ARGV[2 * i], tonumber(ARGV[2 * i + 1])
  if member ~= "" then redis.call("ZADD", key, "XX", string.format("%.0f", now + millis), member) end
  if redis.call("PTTL", key) < millis then redis.call("PEXPIRE", key, ARGV[2 * i + 1]) end
end
`
