-- KEYS: what was done once, by time. ARGV: how old in microseconds, how many. Answers how many.
local time = redis.call("TIME")
local before = string.format("%.0f", time[1] * 1000000 + time[2] - tonumber(ARGV[1]))
local old = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", before, "LIMIT", 0, ARGV[2])
for _, name in ipairs(old) do
  redis.call("ZREM", KEYS[1], name)
end
return #old
