-- KEYS: lease. ARGV: holder, epoch.
local lease = redis.call("HMGET", KEYS[1], "h", "e")
if lease[1] == ARGV[1] and lease[2] == ARGV[2] then
  redis.call("HDEL", KEYS[1], "h")
end
return 1
