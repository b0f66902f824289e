"""The HTTP service: checks requests, queues jobs, serves pictures; imports no torch, no worker."""
