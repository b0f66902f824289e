"""Parks model calls, joins and runs them, recovers from short memory; knows no requests."""
