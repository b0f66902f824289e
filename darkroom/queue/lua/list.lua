-- Read jobs, newest first, that match; looks at no more than `budget` of them, and reads on beyond
-- `bytes` for none. Returns the ticket to go on from ('' at the end), the jobs, and 1 if one more is
-- known to match. `words` is text in small letters, which the prompt has to hold, `in_json` how it
-- reads in JSON; `capitals` has in turn other forms and small ones of its letters beyond ASCII.
local before, limit, bytes, status, model, tag, batch, starred, words, in_json, capitals, budget,
  owner = unpack(ARGV)
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

local larges = words ~= '' and cjson.decode(capitals) or {}

local function small(text)
  text = text:lower() -- knows ASCII alone
  for i = 1, #larges, 2 do
    text = text:gsub(larges[i], larges[i + 1])
  end
  return text
end

local function holds_words(id)
  local data = texts(id, 'data') or ''
  if not small(data):find(in_json, 1, true) then -- most end here, unread
    return false
  end
  local readable, call = pcall(cjson.decode, data)
  local request = readable and type(call) == 'table' and type(call[3]) == 'table' and call[3][1]
  local prompt = type(request) == 'table' and request.prompt
  return type(prompt) == 'string' and small(prompt):find(words, 1, true) ~= nil
end

for i = 1, #rows, 2 do
  local id = rows[i]
  local its_status, its_model, its_owner, tags, expires, its_star, its_batch = unpack(redis.call(
    'HMGET', key_of(id), 'status', 'dr_model', 'dr_owner', 'dr_tags', 'dr_expires', 'dr_starred',
    'dr_batch'))
  if not its_status then
    redis.call('ZREM', 'darkroom:jobs', id) -- its hash expired while no keeper ran
  elseif (status == '' or status == its_status) and (model == '' or model == its_model)
    and (tag == '' or has_tag(tags)) and (batch == '' or batch == its_batch)
    and (not owner or owner == its_owner)
    and not (expires and (tonumber(expires) or 0) <= NOW)
    and (starred == '' or starred == (its_star == '1' and '1' or '0'))
    and (words == '' or holds_words(id)) then
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
