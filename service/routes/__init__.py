"""One file per kind of thing that has URLs."""
