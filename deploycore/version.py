"""The version of this distribution. Its own module, so that others import nothing else with it."""

__all__ = ["__version__"]

__version__ = "0.2.0"
