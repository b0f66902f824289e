-- Read jobs, newest first, that match; looks at no more than `budget` of them.
-- Returns the ticket to go on from ('' at the end) and the jobs.
local before, limit, status, model, tag, budget, owner = unpack(ARGV)
local top = before == '' and '+inf' or '(' .. before
local found, last = {}, ''
local rows = redis.call('ZREVRANGEBYSCORE', 'darkroom:jobs', top, '-inf', 'WITHSCORES',
  'LIMIT', 0, budget)

local function has_tag(tags)
  for _, one in ipairs(cjson.decode(tags)) do
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
  last = rows[i + 1]
  if not its_status then
    redis.call('ZREM', 'darkroom:jobs', id) -- its hash expired while no keeper ran
  elseif (status == '' or status == its_status) and (model == '' or model == its_model)
    and (tag == '' or has_tag(tags)) and (not owner or owner == its_owner)
    and not (expires and tonumber(expires) <= NOW) then
    found[#found + 1] = view(id)
    if #found == tonumber(limit) then
      return {last, found}
    end
  end
end
return {#rows == 2 * tonumber(budget) and last or '', found}
