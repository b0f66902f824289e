-- An engine starts to work for a job that it claimed: from now on the job runs, and its attempt
-- counts. Refused to an engine that does not hold it; one of a queue that was paused meanwhile goes
-- back. A repeat changes nothing. Returns the job.
even_when_full()
local id, token, worker = unpack(ARGV)
local key = key_of(id)
local holder, status, queue, engine = unpack(
  redis.call('HMGET', key, 'dr_token', 'status', 'origin', 'dr_engine'))
if holder ~= token then
  return false
elseif status == RQ_WORD.running then
  return view(id)
elseif status ~= RQ_WORD.queued then
  return false
elseif is_paused(queue) then
  requeue(id, false)
  return false
end
local member = id .. ':' .. token
redis.call('SREM', 'darkroom:claimed:' .. queue, id)
redis.call('ZREM', 'darkroom:waiting:' .. queue, id)
redis.call('ZREM', 'darkroom:deadlines', id)
local attempt = redis.call('HINCRBY', key, 'dr_attempt', 1)
redis.call('HSET', key, 'status', RQ_WORD.running, 'started_at', iso(), 'last_heartbeat', iso(),
  'worker_name', worker, 'dr_started', unix(NOW))
redis.call('ZADD', 'darkroom:leases', unix(NOW + LEASE_S), id)
redis.call('ZADD', 'rq:wip:' .. queue, FAR, member)
redis.call('ZADD', 'rq:executions:' .. id, FAR, token)
redis.call('HSET', 'rq:execution:' .. member, 'id', token, 'worker_name', worker,
  'created_at', unix(NOW), 'last_heartbeat', unix(NOW))
emit(id, 'status', cjson.encode({status = 'running', attempt = attempt}))
post(id, 'job.started', 'running')
ring('room:' .. engine, 1)
return view(id)
