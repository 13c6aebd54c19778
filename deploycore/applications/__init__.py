"""What is deployed where, and how: the model of an application, and files of applications."""

__all__ = ["PROVIDER_SECONDS"]

PROVIDER_SECONDS = 300.0
"""How long a call of a provider's plugin may take, unless ``timeouts`` says otherwise."""
