-- Write on a job what its client notes of it: the JSON of its tags, '1' or '0' for whether it is
-- starred; '' leaves either as it is. Where its star and its tags are not `seen`, in one text, nil, and
-- nothing is written; '' is any.
local id, tags, starred, seen, owner = unpack(ARGV)
if not is_ours(id, owner) then
  return view(id)
end
local key = key_of(id)
local its_tags, its_star = unpack(redis.call('HMGET', key, 'dr_tags', 'dr_starred'))
if seen ~= '' and seen ~= (its_star == '1' and '1' or '0') .. (its_tags or '[]') then
  return false
end
if tags ~= '' then
  redis.call('HSET', key, 'dr_tags', tags)
end
if starred ~= '' then
  redis.call('HSET', key, 'dr_starred', starred)
end
if redis.call('ZSCORE', 'darkroom:expiries', id) then -- it has ended, and was weighed
  weigh(id)
end
return view(id)
