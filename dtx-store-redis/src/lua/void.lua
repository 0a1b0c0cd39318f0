-- KEYS: lease, row, voids. ARGV: token of a reservation.
-- Answers 1 if the row was accepted with it; else no later accept can be.
if redis.call("HGET", KEYS[2], "c") == ARGV[1] then
  return 1
end
local time = redis.call("TIME")
local now = math.max(time[1] * 1000000 + time[2], tonumber(redis.call("HGET", KEYS[1], "n") or 0))
redis.call("ZADD", KEYS[3], string.format("%.0f", now), ARGV[1])
return 0
