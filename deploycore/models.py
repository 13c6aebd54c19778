"""The nouns of the provider contract, as frozen pydantic models.

Plugins map their host's answers to these; the core trusts nothing else. Secrets are
``SecretStr``, so that no ``repr``, log line or JSON dump shows one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from deploycore.errors import ConfigurationError

__all__ = [
    "Account",
    "Branch",
    "BranchQuery",
    "CloneLink",
    "CloneUrl",
    "CommitHash",
    "GitCredential",
    "HostId",
    "NonEmpty",
    "Owner",
    "OwnerQuery",
    "PullRequest",
    "PullRequestQuery",
    "PullRequestState",
    "Repository",
    "RepositoryId",
    "RepositoryQuery",
    "SshAddress",
    "SshCredential",
    "Tag",
    "TagQuery",
    "is_commit_hash",
]

NonEmpty = Annotated[str, Field(min_length=1)]
"""A text that is not empty."""

CommitHash = Annotated[str, Field(pattern=r"^[0-9a-f]{40}(?:[0-9a-f]{24})?$")]
"""The full hash of a commit in lower case, of 40 hexadecimal digits (SHA-1) or 64 (SHA-256)."""

HostId = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,255}$")]
"""A git host's own identifier of something: printable ASCII without spaces."""

Limit = Annotated[int, Field(ge=1)]


def is_commit_hash(text: str) -> bool:
    """Whether this is the full hash of a commit, and not the name of a branch or a tag."""
    return re.fullmatch("[0-9a-f]{40}(?:[0-9a-f]{24})?", text) is not None


class Model(BaseModel):
    """Frozen, and closed to unknown fields: a typing mistake is an error, not a silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Account(Model):
    """Who the credentials belong to, as far as the host tells.

    Attributes:
        username: The name for machines: a login, or a workspace slug where a token belongs
            to no person.
        display_name: The name for people.
        scopes: What the credentials may do, in the host's own words; empty if it does not say.
        expires_at: When the credentials expire, where the host tells; ``None`` where it does not,
            or where they do not expire.
    """

    username: NonEmpty
    display_name: str | None = None
    scopes: tuple[str, ...] = ()
    expires_at: AwareDatetime | None = None


class Owner(Model):
    """Who a repository belongs to.

    Attributes:
        username: The owner's part of the repository's address: the workspace slug on
            Bitbucket, a login or an organisation elsewhere, nested groups with slashes.
        display_name: The name for people.
    """

    username: NonEmpty
    display_name: str | None = None


class RepositoryId(Model):
    """Which repository: all that a provider needs to find it again."""

    owner: NonEmpty
    slug: NonEmpty

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``owner/slug``; the slug is what follows the last slash.

        Raises:
            ValueError: There is no slash, or nothing on one side of it.
        """
        owner, _, slug = text.strip().rpartition("/")
        if not owner or not slug:
            raise ValueError(f"{text!r} is not of the form owner/repository")
        return cls(owner=owner, slug=slug)

    def __str__(self) -> str:
        return f"{self.owner}/{self.slug}"

    @property
    def path(self) -> str:
        """``owner/slug``, percent-encoded for the path of an address, such as a clone URL.

        The slashes of a nested owner (``acme/web``) separate segments, as hosts have them in
        addresses of repositories; within a segment, every reserved character is encoded. Where
        an API takes an owner as one segment, use ``quote(owner, safe="")`` instead.

        Raises:
            ConfigurationError: A segment is empty, ``.`` or ``..``, and names another place.
        """
        segments = str(self).split("/")
        if not {"", ".", ".."}.isdisjoint(segments):
            raise ConfigurationError(
                f"{str(self)!r} is not a valid repository name.",
                hint="Check the owner and the repository in the name.",
                repository=str(self),
            )
        return "/".join(quote(segment, safe="") for segment in segments)


class CloneLink(Model):
    """One way to clone a repository, as the host lists it: ``https`` or ``ssh``."""

    name: NonEmpty
    href: NonEmpty


class Repository(Model):
    """A repository as a provider lists it.

    Attributes:
        name: The name for people.
        slug: The name in addresses.
        url: The page for people.
        owner: Who it belongs to.
        default_branch: ``None`` while the repository is empty, and where the host's listing does
            not tell it.
        private: Whether it is hidden from the public.
        clone_links: Never with a secret in them.
        host_id: The host's identifier of the repository that stays the same when the repository
            is renamed or transferred, and that no other repository of the host ever gets;
            ``None`` where the host has none.
        archived: Whether it is read-only for good; ``None`` where the host does not say.
        empty: Whether it has no commit; ``None`` where the host does not say.
        size: In bytes, as far as the host counts it.
        topics: The words that it is filed under.
        updated_at: When something was last pushed to it, or changed about it.
        commit_url: The address of a commit's page for people, with ``{commit}`` in place of the
            full hash; ``None`` where the host has no such pages.
    """

    name: NonEmpty
    slug: NonEmpty
    url: NonEmpty
    owner: Owner
    default_branch: str | None = None
    private: bool = True
    clone_links: tuple[CloneLink, ...] = ()
    host_id: HostId | None = None
    archived: bool | None = None
    empty: bool | None = None
    size: Annotated[int, Field(ge=0)] | None = None
    topics: tuple[str, ...] = ()
    updated_at: AwareDatetime | None = None
    commit_url: Annotated[str, Field(pattern=r"\{commit\}")] | None = None

    @property
    def id(self) -> RepositoryId:
        """What the other hooks take."""
        return RepositoryId(owner=self.owner.username, slug=self.slug)

    def url_of_commit(self, commit: str) -> str | None:
        """The page of a commit; ``None`` where the provider does not tell its address."""
        return None if self.commit_url is None else self.commit_url.replace("{commit}", commit)


class Branch(Model):
    """A branch and the commit it points to.

    Attributes:
        name: Without ``refs/heads/``.
        commit: The full hash in lower case: 40 hexadecimal digits (SHA-1) or 64 (SHA-256).
    """

    name: NonEmpty
    commit: CommitHash


class Tag(Model):
    """A tag and the commit it points to.

    Attributes:
        name: Without ``refs/tags/``.
        commit: The full hash of the commit, for an annotated tag too, which itself points to a tag
            object.
    """

    name: NonEmpty
    commit: CommitHash


PullRequestState = Literal["open", "merged", "declined"]
"""Whether a pull request is open, was merged, or was closed without that."""


class PullRequest(Model):
    """A pull request as a provider lists it; the fields of the same names as in its event.

    Attributes:
        number: The host's number for it within the repository; at most 2**63 - 1.
        source: The repository that the commits come from; another one for a fork, ``None`` where
            that is gone, or the host does not say which fork it is.
        source_branch: Its branch there.
        target_branch: Where it is to be merged into.
        commit: The newest commit's hash, or its beginning where the host tells no more.
    """

    number: Annotated[int, Field(ge=1, lt=2**63)]
    state: PullRequestState
    title: str = ""
    source: RepositoryId | None = None
    source_branch: NonEmpty
    target_branch: NonEmpty
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")] | None = None


def _contains(name: str, part: str | None) -> bool:
    return part is None or part.casefold() in name.casefold()


class RepositoryQuery(Model):
    """What ``list_repos`` is asked for. New fields come with defaults.

    Attributes:
        owner: Whose repositories; ``None`` for the one that the configuration names.
        name_contains: Only repositories whose name contains this, in any case of letters.
        limit: At most this many.
    """

    owner: NonEmpty | None = None
    name_contains: NonEmpty | None = None
    limit: Limit | None = None

    def wants(self, repository: Repository) -> bool:
        """Whether the filters let a repository through; the owner is not looked at."""
        return _contains(repository.name, self.name_contains)


class BranchQuery(Model):
    """What ``list_branches`` is asked for. New fields come with defaults.

    Attributes:
        name: Only the branch of exactly this name.
        name_contains: Only branches whose name contains this, in any case of letters.
        limit: At most this many.
    """

    name: NonEmpty | None = None
    name_contains: NonEmpty | None = None
    limit: Limit | None = None

    def wants(self, branch: Branch) -> bool:
        """Whether the filters let a branch through."""
        if self.name is not None and branch.name != self.name:
            return False
        return _contains(branch.name, self.name_contains)


class OwnerQuery(Model):
    """What ``list_owners`` is asked for. New fields come with defaults.

    Attributes:
        name_contains: Only owners whose name for machines or for people contains this, in any case
            of letters.
        limit: At most this many.
    """

    name_contains: NonEmpty | None = None
    limit: Limit | None = None

    def wants(self, owner: Owner) -> bool:
        """Whether the filters let an owner through."""
        return any(
            _contains(name, self.name_contains)
            for name in (owner.username, owner.display_name or "")
        )


class TagQuery(Model):
    """What ``list_tags`` is asked for. New fields come with defaults.

    Attributes:
        name: Only the tag of exactly this name.
        name_contains: Only tags whose name contains this, in any case of letters.
        limit: At most this many.
    """

    name: NonEmpty | None = None
    name_contains: NonEmpty | None = None
    limit: Limit | None = None

    def wants(self, tag: Tag) -> bool:
        """Whether the filters let a tag through."""
        if self.name is not None and tag.name != self.name:
            return False
        return _contains(tag.name, self.name_contains)


class PullRequestQuery(Model):
    """What ``list_pull_requests`` is asked for. New fields come with defaults.

    Attributes:
        number: Only the pull request of this number, whatever its state; by default those that are
            open.
        limit: At most this many.
    """

    number: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    limit: Limit | None = None

    def wants(self, pull_request: PullRequest) -> bool:
        """Whether a pull request is asked for."""
        if self.number is not None:
            return pull_request.number == self.number
        return pull_request.state == "open"


class GitCredential(Model):
    """What git servers are shown: often another username than the REST API wants.

    Attributes:
        password: The password or token.
        scheme: How it is shown: ``basic`` with the username (RFC 7617), or ``bearer`` (RFC 6750),
            which sends the token alone.
        expires_at: When it expires, where that is known. ``clone_url`` is asked again for a fetch
            that begins later, and once where the git server rejects it.
    """

    username: NonEmpty
    password: SecretStr
    scheme: Literal["basic", "bearer"] = "basic"
    expires_at: AwareDatetime | None = None


class SshCredential(Model):
    """What git servers are shown over SSH: a key, or those of an SSH agent.

    Attributes:
        private_key: The text of a private key in the OpenSSH or PEM format. ``None`` with ``agent``
            only.
        passphrase: What the private key is encrypted with, if it is.
        agent: Whether to use the keys of the agent that ``SSH_AUTH_SOCK`` names. It is never
            forwarded.
        host_keys: The host's keys, as lines of a ``known_hosts`` file. A host whose key is not
            among them is refused.
    """

    private_key: SecretStr | None = None
    passphrase: SecretStr | None = None
    agent: bool = False
    host_keys: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _has_a_key(self) -> Self:
        if self.private_key is None and not self.agent:
            raise ValueError("an SSH credential has a private key, or uses the agent")
        return self


_SHORT_SSH = re.compile(
    r"(?:(?P<user>[^@:/\s]+)@)?(?P<host>[A-Za-z0-9][\w.-]*):(?!//)(?P<path>\S+)"
)


class SshAddress(Model):
    """Where to clone a repository from over SSH.

    Attributes:
        url: ``ssh://git@host[:port]/path``.
        host_keys: The keys that the host publishes, as lines of a ``known_hosts`` file; empty if it
            publishes none. Then the user has to pin them.
    """

    url: str
    host_keys: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, host_keys: Iterable[str] = ()) -> Self:
        """Read an ssh URL, or git's short form ``git@host:path``, as hosts list them.

        Raises:
            ValueError: It is neither.
        """
        found = _SHORT_SSH.fullmatch(text)
        if found is not None and "://" not in text:
            path = quote(found["path"].lstrip("/"), safe="/~%")
            text = f"ssh://{quote(found['user'] or 'git')}@{found['host']}/{path}"
        return cls(url=text, host_keys=tuple(host_keys))

    @field_validator("url")
    @classmethod
    def _url_is_for_ssh(cls, url: str) -> str:
        _refuse_unclean(url)
        if urlsplit(url).scheme != "ssh":
            raise ValueError("the address is an ssh URL")
        return url


def _refuse_unclean(url: str) -> None:
    """Refuse what is no address to clone from.

    Raises:
        ValueError: It has another scheme, no host, or something that does not belong there.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ssh") or not parts.hostname:
        raise ValueError("a clone URL is an absolute http, https or ssh URL")
    if parts.password is not None or (parts.username is not None and parts.scheme != "ssh"):
        raise ValueError("a clone URL holds no user information; give the credential apart")
    if parts.query or parts.fragment:
        raise ValueError("a clone URL has no query and no fragment")


class CloneUrl(Model):
    """Where to clone from: a clean URL, and the credential apart from it.

    Attributes:
        url: ``https://host/path.git``, without user information, query or fragment; or
            ``ssh://git@host[:port]/path.git``, which may name a user and never has a password.
        credential: ``None`` for a public repository; an ``SshCredential`` for ``ssh``.
    """

    url: str
    credential: GitCredential | SshCredential | None = None

    @field_validator("url")
    @classmethod
    def _url_is_clean(cls, url: str) -> str:
        _refuse_unclean(url)
        return url

    @model_validator(mode="after")
    def _credential_fits(self) -> Self:
        if self.credential is None:
            return self
        if isinstance(self.credential, SshCredential) != (urlsplit(self.url).scheme == "ssh"):
            raise ValueError("an ssh URL takes an SshCredential, another URL a GitCredential")
        return self

    def without_credential(self) -> CloneUrl:
        """The same place, fit for logs and observers."""
        return self.model_copy(update={"credential": None})

    def reveal_joined(self) -> str:
        """The joined form ``https://user:secret@host/…``, percent-encoded.

        For handing to a stock git client by a person who asked for it; deploycore itself
        never uses this form, since it ends up in argument lists and ``.git/config``. A key is no
        part of a URL: with an ``SshCredential``, this is the URL alone.
        """
        if not isinstance(self.credential, GitCredential):
            return self.url
        parts = urlsplit(self.url)
        user = quote(self.credential.username, safe="")
        password = quote(self.credential.password.get_secret_value(), safe="")
        return urlunsplit(parts._replace(netloc=f"{user}:{password}@{parts.netloc}"))
