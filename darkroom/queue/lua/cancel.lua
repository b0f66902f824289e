-- End a queued or running job as canceled.
even_when_full()
local id, owner = unpack(ARGV)
if is_ours(id, owner) then
  cancel(id)
end
return view(id)
