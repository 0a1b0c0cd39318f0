-- KEYS: lease. ARGV: holder, ttl in microseconds. Answers the epoch, or nothing.
local lease = redis.call("HMGET", KEYS[1], "h", "e", "u", "n")
local time = redis.call("TIME")
local now = math.max(time[1] * 1000000 + time[2], tonumber(lease[4] or 0))
local epoch = lease[2]
if lease[1] ~= ARGV[1] then
  if lease[1] and now < tonumber(lease[3]) then
    return false
  end
  epoch = string.format("%.0f", redis.call("HINCRBY", KEYS[1], "e", 1))
end
local ends = string.format("%.0f", now + tonumber(ARGV[2]))
redis.call("HSET", KEYS[1], "h", ARGV[1], "u", ends, "n", string.format("%.0f", now))
return epoch
