-- KEYS: ended, all, forgotten of one shard, then one row per transaction.
-- ARGV: id, time of its last write, and key per transaction. Answers how many were forgotten.
local count = 0
for i = 4, #KEYS do
  local at = (i - 4) * 3
  local tx, written, key = unpack(ARGV, at + 1, at + 3)
  local score = redis.call("ZSCORE", KEYS[1], tx)
  if score and tonumber(score) == tonumber(written) then
    redis.call("UNLINK", KEYS[i])
    redis.call("ZREM", KEYS[1], tx)
    redis.call("ZREM", KEYS[2], tx)
    if key ~= "" then
      redis.call("ZADD", KEYS[3], written, tx .. key)
    end
    count = count + 1
  end
end
return count
