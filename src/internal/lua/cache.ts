/**
 * A cache whose entries carry two tokens: that of the whole cache and that of their partition. A token is a key of its own that
 * no two times of its life have in common, so that to clear is to delete it: what was written under it is a miss for good,
 * and so it is when Redis evicts the token.
 */
import { headBytes, mark } from "../cacheText.ts"

/** KEYS: entry, cache, partition. ARGV: most bytes. Answers nothing, what is behind the tokens, or the head of what is none. */
export const get = `
local found = redis.call("MGET", KEYS[1], KEYS[2], KEYS[3])
local text = found[1]
if not text then return false end
if string.sub(text, 1, ${mark.length}) ~= "${mark}" then return {1, string.sub(text, 1, ${headBytes})} end
if not found[2] or not found[3] then return false end
local head = "${mark}" .. found[2] .. " " .. found[3] .. " "
if string.sub(text, 1, #head) ~= head then return false end
if #text - #head > tonumber(ARGV[1]) then return {1, "${mark}"} end
return {0, string.sub(text, #head + 1)}
`

/** KEYS: entry, cache, partition. ARGV: a new token, milliseconds to live, what is behind the tokens. Tokens outlive entries. */
export const set = `
local text = "${mark}"
for i = 2, 3 do
  local token = redis.call("GET", KEYS[i])
  if not token then
    token = ARGV[1]
    redis.call("SET", KEYS[i], token, "PX", ARGV[2])
  elseif redis.call("PTTL", KEYS[i]) < tonumber(ARGV[2]) then
    redis.call("PEXPIRE", KEYS[i], ARGV[2])
  end
  text = text .. token .. " "
end
redis.call("SET", KEYS[1], text .. ARGV[3], "PX", ARGV[2])
`
