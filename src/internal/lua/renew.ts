/** Lets the leases of one process live on: their records, and what they hold of concurrency quotas. */
import { clock, numbers } from "./clock.ts"
import { money } from "./money.ts"

const renewing = (last: string): string => `
local lengthen = function(key, millis)
  if redis.call("PTTL", key) < tonumber(millis) then redis.call("PEXPIRE", key, millis) end
end
for i = 2, ${last} do
  local member, millis = ARGV[2 * i], ARGV[2 * i + 1]
  if member ~= "" then redis.call("ZADD", KEYS[i], "XX", int(now + tonumber(millis)), member) end
  lengthen(KEYS[i], millis)
end
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", int(now))
redis.call("ZADD", KEYS[1], int(now + tonumber(ARGV[3])), ARGV[2])
lengthen(KEYS[1], ARGV[3])
return redis.call("ZCARD", KEYS[1])
`

/**
 * `KEYS[1]` is the set of the processes that hold leases, `ARGV[2]` the name of this one and `ARGV[3]` for how long it is
 * remembered; the answer is how many there are. Then `KEYS[i]` is a lease or a concurrency quota, `ARGV[2 * i]` nothing or
 * who holds it, `ARGV[2 * i + 1]` for how long. What has been freed is not taken again.
 */
export const renew = `${clock}${numbers}${renewing("#KEYS")}`

/** The same where some of the leases are of money, which are in the set of those that expire, too. */
export const renewMoney = `${clock}${numbers}${money}${renewing("#KEYS - 1")}`
