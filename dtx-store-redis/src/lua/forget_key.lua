-- KEYS: the record of a caller's key. ARGV: transaction, "keep" or "drop".
-- Keeps the key of a transaction that is forgotten next, or drops it after its retention.
local record = redis.call("HMGET", KEYS[1], "t", "s")
if record[1] ~= ARGV[1] then
  return 0
end
if ARGV[2] == "keep" then
  redis.call("HSET", KEYS[1], "s", "f")
elseif record[2] == "f" then
  redis.call("DEL", KEYS[1])
end
return 1
