-- Take one of the requests that a key may make in a minute, if there is one; returns its rate.
even_when_full()
local id, per_minute = ARGV[1], tonumber(ARGV[2])
local left = requests_left(id, per_minute)
local taken = left >= 1
if taken then
  left = left - 1
end
leave_requests(id, left)
return rate(taken, left, per_minute)
