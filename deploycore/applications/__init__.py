"""Applications: their model, which says what to deploy and where, and their files."""

__all__ = ["PROVIDER_SECONDS"]

PROVIDER_SECONDS = 300.0
"""Maximum seconds for a call of a provider's plugin, unless ``timeouts`` sets another value."""
