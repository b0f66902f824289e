-- Read one job.
return view(ARGV[1])
