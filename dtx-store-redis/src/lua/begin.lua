-- KEYS: rows, meta and noes of one scope. ARGV: the key of a row, the key of a mark.
-- Answers the time, the row, the mark, and the no that a script said for the row, which is taken.
local time = redis.call("TIME")
local now = math.max(time[1] * 1000000 + time[2], tonumber(redis.call("HGET", KEYS[2], "n") or 0))
local rows = redis.call("HMGET", KEYS[1], ARGV[1], ARGV[2])
local no = redis.call("HGET", KEYS[3], ARGV[1])
if no then
  redis.call("HDEL", KEYS[3], ARGV[1])
end
return { string.format("%.0f", now), rows[1], rows[2], no }
