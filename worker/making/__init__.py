"""A request becomes one call of one unmodified pipeline."""
