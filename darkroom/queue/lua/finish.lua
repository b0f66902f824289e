-- Commit the result of a job, once; refused to an engine that does not hold it.
even_when_full()
local id, token, status, problem, images, warnings, timings, memory, progress, data, news =
  unpack(ARGV, 1, 11)
local key = key_of(id)
local holder, done, was = unpack(redis.call('HMGET', key, 'dr_token', 'dr_done', 'status'))
if done == token then
  return 'already'
end
if holder ~= token or (was ~= RQ_WORD.running and was ~= RQ_WORD.queued) then
  count('fenced')
  return 'fenced'
end
redis.call('HSET', key, 'dr_done', token, 'dr_images', images, 'dr_end_warnings', warnings)
if timings ~= '' then
  redis.call('HSET', key, 'dr_timings', timings)
end
if memory ~= '' then
  redis.call('HSET', key, 'dr_memory', memory)
end
if progress ~= '' then
  redis.call('HSET', key, 'dr_progress', progress)
end
if data ~= '' then
  redis.call('HSET', key, 'data', data)
end
local images_from = 12 + tonumber(news)
for i = 12, images_from - 1, 2 do
  emit(id, ARGV[i], ARGV[i + 1])
end
for i = images_from, #ARGV do
  redis.call('HSET', 'darkroom:images', cjson.decode(ARGV[i]).id, id)
  emit(id, 'image', ARGV[i])
end
local worker = 'rq:worker:' .. (redis.call('HGET', key, 'worker_name') or '')
if redis.call('EXISTS', worker) == 1 then -- what `rq info` shows
  local field = status == 'succeeded' and 'successful_job_count' or 'failed_job_count'
  redis.call('HINCRBY', worker, field, 1)
end
settle(id, status, problem)
return 'committed'
