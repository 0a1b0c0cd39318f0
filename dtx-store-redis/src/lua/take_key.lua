-- KEYS: the record of a caller's key. ARGV: owner, its token, new owner, new token.
-- Gives a void reservation to another; an empty new owner gives it up. Answers 1 if it was so.
local record = redis.call("HMGET", KEYS[1], "t", "s", "c")
if record[1] ~= ARGV[1] or record[2] ~= "r" or record[3] ~= ARGV[2] then
  return 0
end
if ARGV[3] == "" then
  redis.call("DEL", KEYS[1])
else
  redis.call("HSET", KEYS[1], "t", ARGV[3], "c", ARGV[4])
end
return 1
