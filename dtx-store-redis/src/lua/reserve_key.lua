-- KEYS: the record of a caller's key. ARGV: transaction, token.
-- Answers who has it: transaction, state, token.
local record = redis.call("HMGET", KEYS[1], "t", "s", "c")
if record[1] then
  return record
end
redis.call("HSET", KEYS[1], "t", ARGV[1], "s", "r", "c", ARGV[2])
return { ARGV[1], "r", ARGV[2] }
