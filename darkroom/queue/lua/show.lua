-- Show early pictures of running jobs: of each the job, the token of its claim, what to tell, and
-- the picture. Those of jobs that the engine does not hold are left out.
for i = 1, #ARGV, 4 do
  local id, token, data, picture = unpack(ARGV, i, i + 3)
  local holder, status = unpack(redis.call('HMGET', key_of(id), 'dr_token', 'status'))
  if holder == token and status == RQ_WORD.running then
    redis.call('SET', preview_key(id), picture, 'EX', PREVIEW_S)
    emit(id, 'preview', data)
  end
end
