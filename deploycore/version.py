"""The version of this distribution. It is a separate module, so that other modules can import it
alone."""

__all__ = ["__version__"]

__version__ = "0.2.0"
