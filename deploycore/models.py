"""The models that provider hooks receive and return.

They are frozen pydantic models. Plugins convert their host's responses to these models; the core
accepts nothing else. Secrets are ``SecretStr``, so that they do not appear in a ``repr``, a log
line or JSON.
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
"""A string that is not empty."""

CommitHash = Annotated[str, Field(pattern=r"^[0-9a-f]{40}(?:[0-9a-f]{24})?$")]
"""The full hash of a commit in lower case: 40 hexadecimal digits (SHA-1) or 64 (SHA-256)."""

HostId = Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,255}$")]
"""A git host's identifier of an object: 1 to 255 printable ASCII characters without spaces."""

Limit = Annotated[int, Field(ge=1)]


def is_commit_hash(text: str) -> bool:
    """Whether a text has the form of a full commit hash, unlike names of most branches and tags."""
    return re.fullmatch("[0-9a-f]{40}(?:[0-9a-f]{24})?", text) is not None


class Model(BaseModel):
    """The base of all models. It is frozen and rejects unknown fields, such as misspelled ones."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True
    )


class Account(Model):
    """The account that credentials belong to.

    Attributes:
        username: The login, or the slug of a workspace if the token does not belong to a person.
        display_name: The name to show to people.
        scopes: The scopes of the credentials, in the host's words; empty if the host does not
            report them.
        expires_at: When the credentials expire; ``None`` if they do not, or if the host does not
            report it.
    """

    username: NonEmpty
    display_name: str | None = None
    scopes: tuple[str, ...] = ()
    expires_at: AwareDatetime | None = None


class Owner(Model):
    """The owner of a repository.

    Attributes:
        username: The owner in the repository's address, such as the slug of a workspace, a login,
            or the path of a nested group with slashes.
        display_name: The name to show to people.
    """

    username: NonEmpty
    display_name: str | None = None


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


class CloneLink(Model):
    """A URL to clone a repository from, as the host lists it.

    Attributes:
        name: The protocol: ``https`` or ``ssh``.
        href: The URL.
    """

    name: NonEmpty
    href: NonEmpty


class Repository(Model):
    """A repository as a provider lists it.

    Attributes:
        name: The name to show to people.
        slug: The name in addresses.
        url: The address of the repository's page.
        owner: The owner.
        default_branch: The name of the default branch; ``None`` if the repository is empty.
        private: Whether the repository is hidden from the public.
        clone_links: The URLs to clone from. They must not contain a secret.
        host_id: The host's identifier of the repository. It stays the same when the repository is
            renamed or transferred, and no other repository of the host ever gets it. ``None`` if
            the host has no such identifier.
        archived: Whether the repository is archived, so that nobody can push to it; ``None`` if
            the host does not report it.
        empty: Whether the repository has no commits; ``None`` if the host does not report it.
        size: The size in bytes; ``None`` if the host does not report it.
        topics: The topics (labels) of the repository.
        updated_at: The time of the last push or other change.
        commit_url: The address of a commit's page, with ``{commit}`` in place of the full hash;
            ``None`` if the host has no such pages.
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
        """The identifier that other hooks take as an argument."""
        return RepositoryId(owner=self.owner.username, slug=self.slug)

    def url_of_commit(self, commit: str) -> str | None:
        """Return the address of a commit's page; ``None`` if ``commit_url`` is not set."""
        return None if self.commit_url is None else self.commit_url.replace("{commit}", commit)


class Branch(Model):
    """A branch and the commit it points to.

    Attributes:
        name: The name, without ``refs/heads/``.
        commit: The full hash of the commit.
    """

    name: NonEmpty
    commit: CommitHash


class Tag(Model):
    """A tag and the commit it points to.

    Attributes:
        name: The name, without ``refs/tags/``.
        commit: The full hash of the commit. For an annotated tag, this is not the hash of the tag
            object.
    """

    name: NonEmpty
    commit: CommitHash


PullRequestState = Literal["open", "merged", "declined"]
"""The state of a pull request. ``declined`` means that it was closed without a merge."""


class PullRequest(Model):
    """A pull request as a provider lists it.

    Fields with the same names as in :class:`~deploycore.events.PullRequestEvent` have the same
    meaning.

    Attributes:
        number: The host's number of the pull request in the repository; at most 2**63 - 1.
        state: The current state.
        title: The title.
        source: The repository that the commits come from. For a fork, it is another repository.
            ``None`` if the fork was deleted, or if the host does not report it.
        source_branch: The branch in that repository.
        target_branch: The branch to merge into.
        commit: The hash of the newest commit, or only its first digits if the host reports no
            more.
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
    """The filters of ``list_repos``. New fields will have defaults.

    Attributes:
        owner: List the repositories of this owner (default: the configured owner).
        name_contains: List only repositories whose name contains this text. Case is ignored.
        limit: The maximum number of repositories (default: all).
    """

    owner: NonEmpty | None = None
    name_contains: NonEmpty | None = None
    limit: Limit | None = None

    def wants(self, repository: Repository) -> bool:
        """Whether a repository matches the filters. The owner is not compared."""
        return _contains(repository.name, self.name_contains)


class BranchQuery(Model):
    """The filters of ``list_branches``. New fields will have defaults.

    Attributes:
        name: List only the branch with exactly this name.
        name_contains: List only branches whose name contains this text. Case is ignored.
        limit: The maximum number of branches (default: all).
    """

    name: NonEmpty | None = None
    name_contains: NonEmpty | None = None
    limit: Limit | None = None

    def wants(self, branch: Branch) -> bool:
        """Whether a branch matches the filters."""
        if self.name is not None and branch.name != self.name:
            return False
        return _contains(branch.name, self.name_contains)


class OwnerQuery(Model):
    """The filters of ``list_owners``. New fields will have defaults.

    Attributes:
        name_contains: List only owners whose username or display name contains this text. Case is
            ignored.
        limit: The maximum number of owners (default: all).
    """

    name_contains: NonEmpty | None = None
    limit: Limit | None = None

    def wants(self, owner: Owner) -> bool:
        """Whether an owner matches the filters."""
        return any(
            _contains(name, self.name_contains)
            for name in (owner.username, owner.display_name or "")
        )


class TagQuery(Model):
    """The filters of ``list_tags``. New fields will have defaults.

    Attributes:
        name: List only the tag with exactly this name.
        name_contains: List only tags whose name contains this text. Case is ignored.
        limit: The maximum number of tags (default: all).
    """

    name: NonEmpty | None = None
    name_contains: NonEmpty | None = None
    limit: Limit | None = None

    def wants(self, tag: Tag) -> bool:
        """Whether a tag matches the filters."""
        if self.name is not None and tag.name != self.name:
            return False
        return _contains(tag.name, self.name_contains)


class PullRequestQuery(Model):
    """The filters of ``list_pull_requests``. New fields will have defaults.

    Attributes:
        number: List only the pull request with this number, in any state (default: all open pull
            requests).
        limit: The maximum number of pull requests (default: all).
    """

    number: Annotated[int, Field(ge=1, lt=2**63)] | None = None
    limit: Limit | None = None

    def wants(self, pull_request: PullRequest) -> bool:
        """Whether a pull request matches the filters."""
        if self.number is not None:
            return pull_request.number == self.number
        return pull_request.state == "open"


class GitCredential(Model):
    """The credential for a git server. Its username often differs from that for the REST API.

    Attributes:
        username: The username for git.
        password: The password or token.
        scheme: How the credential is sent: ``basic`` with the username (RFC 7617), or ``bearer``
            (RFC 6750), which sends only the token.
        expires_at: When the credential expires; ``None`` if this is unknown. The core calls
            ``clone_url`` again if the credential has expired before a fetch, and once if the git
            server rejects it.
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
    """The URL to clone a repository from, and the credential for it.

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
        """Return a copy without the credential, for logs and observers."""
        return self.model_copy(update={"credential": None})

    def reveal_joined(self) -> str:
        """Return the URL with the credential in it: ``https://user:secret@host/…``.

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
