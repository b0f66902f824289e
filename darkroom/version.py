"""Which version of Darkroom this is; knows nothing else."""

__version__ = "0.2.0"
