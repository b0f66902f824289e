"""The `darkroom` command and what belongs to it alone; nobody imports it."""
