"""What lies on disk becomes modules in memory; knows no jobs."""
