-- KEYS: lease. ARGV: holder, epoch, ttl in microseconds. Answers 1 if it is still the newest.
local lease = redis.call("HMGET", KEYS[1], "h", "e", "n")
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then
  return 0
end
local time = redis.call("TIME")
local now = math.max(time[1] * 1000000 + time[2], tonumber(lease[3] or 0))
local ends = string.format("%.0f", now + tonumber(ARGV[3]))
redis.call("HSET", KEYS[1], "u", ends, "n", string.format("%.0f", now))
return 1
