"""The version, where packaging and programs read it."""

__version__ = "0.1.0"
