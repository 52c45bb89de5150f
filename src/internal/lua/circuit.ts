/** A circuit is one value: its version, 36 characters, and what it is, of which Redis knows nothing. */

const clock = `
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
`

/** The server's time and the value, which lives longer where it has less than the first argument left: the second. */
export const read = `${clock}
local value = redis.call("GET", KEYS[1])
if value and redis.call("PTTL", KEYS[1]) < tonumber(ARGV[1]) then redis.call("PEXPIRE", KEYS[1], ARGV[2]) end
return { now, value or "" }
`

/** Writes a value for so long if it replaces the version it was made of, or any: else answers what is there. */
export const swap = `${clock}
local value = redis.call("GET", KEYS[1]) or ""
if ARGV[1] ~= "*" and string.sub(value, 1, 36) ~= ARGV[1] then return { now, value, 0 } end
redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
return { now, "", 1 }
`
