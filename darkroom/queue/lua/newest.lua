-- Of an owner's jobs with a tag that have not ended: how many there are, and the newest of those that
-- run, else of those that wait; nothing in its place if there is none.
local owner, tag = unpack(ARGV)
local count, newest, best = 0, nil, {0, -1}
for _, id in ipairs(redis.call('SMEMBERS', 'darkroom:active:' .. owner)) do
  local status, tags, ticket = unpack(redis.call('HMGET', key_of(id), 'status', 'dr_tags', 'dr_ticket'))
  local readable, list = pcall(cjson.decode, tags or '[]')
  local has_tag = false
  for _, one in ipairs(readable and type(list) == 'table' and list or {}) do
    has_tag = has_tag or one == tag
  end
  if has_tag and (status == RQ_WORD.queued or status == RQ_WORD.running) then
    local runs, place = status == RQ_WORD.running and 1 or 0, tonumber(ticket) or 0
    count = count + 1
    if runs > best[1] or (runs == best[1] and place > best[2]) then
      newest, best = id, {runs, place}
    end
  end
end
return {count, newest and view(newest) or {}}
