"""The identifier of a repository, which nearly every command needs."""

from typing import Self
from urllib.parse import quote

from deploycore.errors import ConfigurationError
from deploycore.models.base import Model, NonEmpty

__all__ = ["RepositoryId"]


class RepositoryId(Model):
    """The owner and name of a repository. Hooks find a repository by it."""

    owner: NonEmpty
    slug: NonEmpty

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse ``owner/slug``. The slug is the part after the last slash.

        Raises:
            ValueError: The text has no slash, or no owner, or no slug.
        """
        owner, _, slug = text.strip().rpartition("/")
        if not owner or not slug:
            raise ValueError(f"{text!r} is not of the form owner/repository")
        return cls(owner=owner, slug=slug)

    def __str__(self) -> str:
        return f"{self.owner}/{self.slug}"

    @property
    def path(self) -> str:
        """``owner/slug``, percent-encoded for the path of a URL, such as a clone URL.

        The slashes of a nested owner (``acme/web``) separate segments and are not encoded. In each
        segment, all reserved characters are encoded. If an API takes an owner as one segment, use
        ``quote(owner, safe="")`` instead.

        Raises:
            ConfigurationError: A segment is empty, ``.`` or ``..``, so the path would lead
                elsewhere.
        """
        segments = str(self).split("/")
        if not {"", ".", ".."}.isdisjoint(segments):
            raise ConfigurationError(
                f"{str(self)!r} is not a valid repository name.",
                hint="Check the owner and the repository in the name.",
                repository=str(self),
            )
        return "/".join(quote(segment, safe="") for segment in segments)
