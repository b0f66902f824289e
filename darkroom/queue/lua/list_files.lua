-- Read files, newest first: those that an owner keeps or, without an owner, that anybody does. Returns
-- the ticket to go on from ('' at the end), the time now, and of each its id and what is kept of it.
local before, limit, owner = unpack(ARGV)
local listed = owner and 'darkroom:files:' .. owner or 'darkroom:all_files'
local rows = redis.call('ZREVRANGEBYSCORE', listed, before == '' and '+inf' or '(' .. before, '-inf',
  'WITHSCORES', 'LIMIT', 0, limit)
local found, last = {}, ''
for i = 1, #rows, 2 do
  local key = 'darkroom:file:' .. rows[i]
  local kept = owner and {redis.call('HGET', key, owner)} or redis.call('HVALS', key)
  found[#found + 1] = {rows[i], kept}
  last = rows[i + 1]
end
return {#rows == 2 * tonumber(limit) and last or '', unix(NOW), found}
