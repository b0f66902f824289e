-- Read messages of an owner that were given up, the last one first, `most` at most: their names and
-- fields.
local owner, most = unpack(ARGV)
local found = {}
for _, message in ipairs(redis.call('ZREVRANGE', 'darkroom:outbox:failed:' .. owner, 0, most - 1)) do
  local fields = redis.call('HGETALL', message_key(message))
  if #fields > 0 then
    found[#found + 1] = {message, fields}
  end
end
return found
