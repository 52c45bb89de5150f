/** Replaces what a lease took by what was used, once; a lease that is not known is marked, so that it cannot be taken. */
import { accounts } from "./accounts.ts"

/** Of its own: how long that is remembered, and what was used of each entry. */
export const settle = `${accounts}
local at = redis.call("GET", lease)
-- taken by somebody who knows its entries
if at and at ~= "settled" and count == 0 then return 0 end
redis.call("SET", lease, "settled", "PX", own(1))
if not at or at == "settled" then return 0 end

for i, entry in ipairs(entries) do
  local a = entry.account
  if a.kind ~= "C" then
    book[a.kind](a, tonumber(own(i + 1)) - entry.amount, tonumber(at))
  else
    local name = member(i, entry.amount)
    local expires = redis.call("ZSCORE", a.key, name)
    if expires and tonumber(expires) > now then
      redis.call("ZREM", a.key, name)
      a.taken = a.taken - entry.amount
    end
  end
end
for _, a in pairs(opened) do save[a.kind](a) end
return 1
`
