-- Read jobs, newest first, that match; looks at no more than `budget` of them, and reads on beyond
-- `bytes` for none. Returns the ticket to go on from ('' at the end), the jobs, and 1 if one more is
-- known to match.
local before, limit, bytes, status, model, tag, budget, owner = unpack(ARGV)
local top = before == '' and '+inf' or '(' .. before
local found, last, left = {}, '', tonumber(bytes)
local rows = redis.call('ZREVRANGEBYSCORE', 'darkroom:jobs', top, '-inf', 'WITHSCORES',
  'LIMIT', 0, budget)

local function has_tag(tags)
  local readable, list = pcall(cjson.decode, tags)
  for _, one in ipairs(readable and type(list) == 'table' and list or {}) do
    if one == tag then
      return true
    end
  end
  return false
end

for i = 1, #rows, 2 do
  local id = rows[i]
  local its_status, its_model, its_owner, tags, expires = unpack(redis.call('HMGET', key_of(id),
    'status', 'dr_model', 'dr_owner', 'dr_tags', 'dr_expires'))
  if not its_status then
    redis.call('ZREM', 'darkroom:jobs', id) -- its hash expired while no keeper ran
  elseif (status == '' or status == its_status) and (model == '' or model == its_model)
    and (tag == '' or has_tag(tags)) and (not owner or owner == its_owner)
    and not (expires and (tonumber(expires) or 0) <= NOW) then
    if #found == tonumber(limit) or left <= 0 then
      return {last, found, 1}
    end
    local job = view(id)
    for _, part in ipairs(job[5]) do
      left = left - #part
    end
    found[#found + 1] = job
  end
  last = rows[i + 1]
end
return {#rows == 2 * tonumber(budget) and last or '', found, 0}
