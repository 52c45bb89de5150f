/** Takes every entry or none, until the lease is settled. */
import { accounts } from "./accounts.ts"
import { admission, answers } from "./admission.ts"
import { guarded, money } from "./money.ts"

const opening = `
-- taken before, or settled before it was taken
if redis.call("EXISTS", lease) == 1 then return answer(0, -1) end
`

const taking = `
local ttl = tonumber(ARGV[own + 1])
for i, entry in ipairs(entries) do
  local a = entry.account
  if a.kind == "C" then redis.call("ZADD", a.key, int(now + ttl), member(i, entry.amount)) end
  take(a, entry.amount)
end
for _, a in pairs(opened) do save(a) end
`

/** Of its own: the ttl of the lease, and how long its record outlives it. */
export const reserve = `${accounts()}
${answers}${opening.trimEnd()}
${admission}${taking.trimEnd()}
redis.call("SET", lease, int(now), "PX", life(ttl + tonumber(ARGV[own + 2])))
return answer(-1)
`

/** The same where money is taken. Of its own: the ttl of the lease, the epoch, and the record without the time. */
export const reserveMoney = `${accounts()}
${answers}${money}${guarded("ARGV[own + 2]")}${opening}${admission}${taking}
redis.call("SET", lease, int(now) .. " " .. ARGV[own + 3], "PX", kept)
redis.call("ZADD", expiriesKey, int(now + ttl), lease)
redis.call("PEXPIRE", expiriesKey, kept)
return answer(-1)
`
