-- Keep a picture as a file of an owner's, whose files may count as `most` bytes together; one that
-- they keep already is kept anew. Returns 'new' or 'known' and what is kept; 'full' and their bytes.
local id, owner, about, counted, most = unpack(ARGV)
local key = 'darkroom:file:' .. id
local before = redis.call('HGET', key, owner)
local created = before and cjson.decode(before).created or unix(NOW)
if not before then
  local taken = tonumber(redis.call('HGET', 'darkroom:file_bytes', owner) or 0)
  if taken + counted > tonumber(most) then
    return {'full', taken}
  end
  local ticket = redis.call('INCR', 'darkroom:ticket')
  redis.call('ZADD', 'darkroom:files:' .. owner, ticket, id)
  redis.call('ZADD', 'darkroom:all_files', ticket, id)
  redis.call('HINCRBY', 'darkroom:file_bytes', owner, counted)
end
local expires = unix(NOW + FILE_RETENTION_S)
local kept = string.format('{"created":"%s","expires":"%s","counted":%s,"about":%s}',
  created, expires, counted, about)
redis.call('HSET', key, owner, kept)
redis.call('ZADD', 'darkroom:file_expiries', expires, id .. '|' .. owner)
return {before and 'known' or 'new', kept}
