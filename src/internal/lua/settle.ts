/** Replaces what a lease took by what was used, once; a lease that is not known is marked, so that it cannot be taken. */
import { accounts } from "./accounts.ts"

/** Of its own: how long that is remembered, and what was used of each entry. */
export const settle = `${accounts(true)}
local at = redis.call("GET", lease)
-- taken by somebody who knows its entries
if at and at ~= "settled" and count == 0 then return 0 end
redis.call("SET", lease, "settled", "PX", ARGV[own + 1])
if not at or at == "settled" then return 0 end

local account = function(entry)
  local a = entry.account
  if not a.open then open(a) end
  a.open = true
  return a
end

for i, entry in ipairs(entries) do
  local used = tonumber(ARGV[own + 1 + i])
  if entry.account.kind ~= "C" then
    if used ~= entry.amount then correct(account(entry), entry.amount, used, tonumber(at)) end
  else
    local a, name = account(entry), member(i, entry.amount)
    local expires = redis.call("ZSCORE", a.key, name)
    if expires and tonumber(expires) > now then
      redis.call("ZREM", a.key, name)
      a.taken = a.taken - entry.amount
    end
  end
end
for _, a in pairs(opened) do
  if a.open then save(a) end
end
return 1
`
