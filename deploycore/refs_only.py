"""A provider without an API: it requests only refs, from the git server.

A plugin of a host with an API uses this for its mode ``deploy-key``. It defines a subclass of
:class:`RefsOnlyConfig`, which is a member of its ``Config``, and a subclass of
:class:`RefsOnlyProvider`, which its provider class names in ``CLASSES_OF_MODES``. The key is in the
core's own fields, so the plugin does not see it. Hooks that need an API are left out: the core
tells users which mode does not support them.

A plugin of a host without an API needs only a subclass of :class:`RefsOnlyProvider`, and its own
configuration with the properties of :class:`RefsConfig`.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, field_validator

from deploycore.configuration import HttpAuth, ProviderConfig
from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    NotFound,
    PermissionDenied,
    ProviderError,
)
from deploycore.git_reader import GitReader, GitSource
from deploycore.hookspecs import API_VERSION, hookimpl
from deploycore.models import CloneUrl, RepositoryId, SshAddress

# Every command that uses a plugin imports this module; what a host lists is imported by the hooks.
if TYPE_CHECKING:
    from deploycore.http import HttpClient
    from deploycore.models import (
        Account,
        Branch,
        BranchQuery,
        Repository,
        RepositoryQuery,
        Tag,
        TagQuery,
    )

__all__ = ["RefsConfig", "RefsOnlyConfig", "RefsOnlyProvider"]

HEADS = "refs/heads/"
TAGS = "refs/tags/"
GIT = ".git"


def _ssh_url(text: str) -> str:
    text = text.strip().rstrip("/")
    try:
        address = SshAddress(url=text)
        _ = urlsplit(text).port
    except (ValidationError, ValueError):
        address = None
    # Raise here, because the errors above quote text that may contain a password.
    if address is None or re.search(r"[\s\\]", text):
        raise ValueError(
            "it must be an ssh URL without a password, such as ssh://git@git.example.com:2222"
        )
    return address.url


class RefsConfig(Protocol):
    """The properties of a configuration that :class:`RefsOnlyProvider` needs."""

    @property
    def name(self) -> str:
        """The name of the provider."""

    @property
    def mode(self) -> str:
        """The way to sign in."""

    @property
    def repositories(self) -> str:
        """The configured repositories, as the user wrote them, separated by spaces."""

    @property
    def repository_ids(self) -> tuple[RepositoryId, ...]:
        """The configured repositories, in the order of the configuration."""

    @property
    def account(self) -> str:
        """The owner of these credentials, as far as the configuration shows."""

    def source_of(self, repository: RepositoryId) -> GitSource:
        """Return the address from which git reads the refs of a repository."""

    def page_of(self, repository: RepositoryId) -> str:
        """Return the address of the repository's page on the host, or else its clone URL."""


class RefsOnlyConfig(ProviderConfig):
    """The fields of the mode ``deploy-key``, which are the same for every host.

    A subclass adds the address of the host, if there can be several, and returns the address of the
    host's SSH server in ``default_ssh_url``.

    Attributes:
        HAS_NESTED_OWNERS: Whether an owner can have several segments, such as ``group/subgroup``.
        ssh_url: The address of the SSH server; ``None`` for the host's default one.
    """

    NEEDS_SSH_KEY: ClassVar[bool] = True
    HAS_NESTED_OWNERS: ClassVar[bool] = False
    MODE_LABEL: ClassVar[str] = "Deploy key (SSH)"
    MODE_SUMMARY: ClassVar[str] = "An SSH key that can only read the repositories that you name."

    mode: Literal["deploy-key"] = Field(description="how to sign in")
    repositories: str = Field(
        description="repositories that the SSH key can read, as OWNER/REPOSITORY, with spaces or"
        " commas between"
    )
    ssh_url: Annotated[str, AfterValidator(_ssh_url)] | None = Field(
        None,
        description="SSH address that comes before the repositories' paths, such as"
        " ssh://git@git.example.com:2222 (default: that of the host)",
    )

    @field_validator("repositories")
    @classmethod
    def _are_repositories(cls, text: str) -> str:
        """Return the names without repetitions, separated by spaces."""
        given = (each.strip("/").removesuffix(GIT) for each in re.split(r"[\s,]+", text))
        names = dict.fromkeys(each for each in given if each)
        if not names:
            raise ValueError("it is empty; name at least one repository")
        for name in names:
            segments = name.split("/")
            is_deep = len(segments) > 2 and not cls.HAS_NESTED_OWNERS
            is_odd = not name.isprintable() or re.search(r"[?#\\:]", name)
            if len(segments) < 2 or is_deep or is_odd or not {"", ".", ".."}.isdisjoint(segments):
                raise ValueError(
                    f"{name!r} is not a repository; use OWNER/REPOSITORY as in its address, without"
                    " the host"
                )
        return " ".join(names)

    @property
    def repository_ids(self) -> tuple[RepositoryId, ...]:
        """The configured repositories, in the order of the configuration."""
        return tuple(map(RepositoryId.parse, self.repositories.split()))

    @property
    def account(self) -> str:
        """The owner of the first repository: a deploy key belongs to no person."""
        return self.repository_ids[0].owner

    @property
    def api_auth(self) -> HttpAuth | None:
        return None

    @property
    def default_ssh_url(self) -> str:
        """The address of the SSH server, without the path of a repository."""
        host = urlsplit(self.api_base_url).hostname or ""
        return f"ssh://git@{f'[{host}]' if ':' in host else host}"

    @property
    def published_host_keys(self) -> tuple[str, ...]:
        """The host keys that the host publishes, as lines of a ``known_hosts`` file."""
        return ()

    def ssh_address_of(self, repository: RepositoryId) -> SshAddress:
        """Return the address to clone a repository from over SSH."""
        url = f"{self.ssh_url or self.default_ssh_url}/{repository.path}{GIT}"
        return SshAddress(url=url, host_keys=self.published_host_keys)

    def source_of(self, repository: RepositoryId) -> SshAddress:
        """Return the SSH address, because this mode has no other one."""
        return self.ssh_address_of(repository)

    def page_of(self, repository: RepositoryId) -> str:
        """Return the address of the repository's page on the host."""
        return f"{self.api_base_url}/{repository.path}"


class RefsOnlyProvider:
    """The hooks that need no API. A subclass sets ``Config``, and may add hooks.

    ``verify_webhook`` and ``parse_webhook`` need only the webhook's secret, and
    ``deploy_keys_page`` nothing, so a plugin adds them as its other modes have them.

    Args:
        config: The repositories, and their addresses.
        http: Not used: there is no API.
        git: Reads refs from the host. Over SSH, the core adds the provider's key.

    Attributes:
        IGNORES_CASE_OF_OWNERS: Whether ``Acme`` and ``acme`` are one owner.
        REFUSALS_OF_ONE: Types of errors that are about a single repository. The other repositories
            are listed before such an error is raised.
    """

    API_VERSION = API_VERSION
    Config: ClassVar[Any] = RefsOnlyConfig
    NO_REPOSITORIES_HINT = "Name the repositories in the provider's field repositories."
    IGNORES_CASE_OF_OWNERS: ClassVar[bool] = True
    REFUSALS_OF_ONE: ClassVar[tuple[type[ProviderError], ...]] = (
        AuthenticationFailed,
        NotFound,
        PermissionDenied,
    )

    def __init__(self, config: RefsConfig, http: "HttpClient", git: GitReader) -> None:
        self.config = config
        self._git = git

    @hookimpl
    def authenticate(self) -> "Account":
        """Read ``HEAD`` of the first configured repository, because git has no other way to check
        credentials."""
        from deploycore.models import Account

        self._default_branch(self.config.repository_ids[0])
        return Account(username=self.config.account)

    @hookimpl
    def list_repos(self, query: "RepositoryQuery") -> "Iterable[Repository]":
        """List the configured repositories.

        For each, the host's ``HEAD`` is read when the caller reaches it. Repositories that the host
        rejects are reported after the others.
        """
        owned = [
            each for each in self.config.repository_ids if self._is_owner(query.owner, each.owner)
        ]
        if query.owner is not None and not owned:
            raise self._unknown_owner(query.owner)
        part = (query.name_contains or "").casefold()
        return self._described(each for each in owned if part in each.slug.casefold())

    @hookimpl
    def list_branches(self, repository: RepositoryId, query: "BranchQuery") -> "Iterable[Branch]":
        """List the refs that begin with ``refs/heads/``, or with the full name of one branch."""
        from deploycore.models import Branch

        for name, commit in self._refs(repository, HEADS, query.name):
            yield Branch(name=name, commit=commit)

    @hookimpl
    def list_tags(self, repository: RepositoryId, query: "TagQuery") -> "Iterable[Tag]":
        """List the refs that begin with ``refs/tags/``, or with the full name of one tag."""
        from deploycore.models import Tag

        for name, commit in self._refs(repository, TAGS, query.name):
            yield Tag(name=name, commit=commit)

    @hookimpl
    def clone_url(self, repository: RepositoryId) -> CloneUrl:
        """Raise an error: this hook is called only if there is no SSH key, which this mode
        requires."""
        source = self.config.source_of(repository)
        if isinstance(source, CloneUrl):
            return source
        name = self.config.name
        raise ConfigurationError(
            f"Provider {name} has no SSH key, and in mode {self.config.mode} git clones only over"
            " SSH.",
            hint=f"Add the key: deploycore provider edit {name} --ssh-private-key-file PATH",
            provider=name,
        )

    @hookimpl
    def ssh_clone_url(self, repository: RepositoryId) -> SshAddress:
        """Build the SSH address from the configuration, without a request."""
        source = self.config.source_of(repository)
        if isinstance(source, SshAddress):
            return source
        raise self.no_key_over_https(source)

    def not_found_at(self, repository: RepositoryId) -> str:
        """Say in one sentence which repository was not found, and with which credentials."""
        return (
            f"Repository {repository} was not found, or the SSH key of provider"
            f" {self.config.name} cannot read it."
        )

    def check_name(self, repository: RepositoryId) -> str:
        """The hint if a repository is not found."""
        return (
            "Check the repository's name, and that the public key is a deploy key of it. To"
            f" correct the names: deploycore provider edit {self.config.name} --repositories"
            " 'OWNER/REPOSITORY …'"
        )

    def check_credentials(self, repository: RepositoryId) -> str:
        """The hint if the host rejects the credentials."""
        return (
            f"Check that the public key of the provider's SSH key is a deploy key of {repository}."
            f" To replace the key: deploycore provider rotate {self.config.name}"
        )

    def no_key_over_https(self, source: CloneUrl) -> ConfigurationError:
        """Return the error for a provider that has an SSH key and an address over HTTPS."""
        name, mode = self.config.name, self.config.mode
        return ConfigurationError(
            f"Provider {name} has an SSH key, but in mode {mode} git clones over HTTPS.",
            hint="Add the provider again in a mode over SSH, or without the key.",
            provider=name,
        )

    def describe(self, repository: RepositoryId, branch: str | None) -> "Repository":
        """Describe a repository, as far as git and the configuration allow."""
        from deploycore.models import CloneLink, Owner, Repository

        source = self.config.source_of(repository)
        kind = "ssh" if isinstance(source, SshAddress) else "https"
        return Repository(
            name=repository.slug,
            slug=repository.slug,
            url=self.config.page_of(repository),
            owner=Owner(username=repository.owner),
            default_branch=branch,
            clone_links=(CloneLink(name=kind, href=source.url),),
        )

    def _is_owner(self, wanted: str | None, owner: str) -> bool:
        if wanted is None or wanted == owner:
            return True
        return self.IGNORES_CASE_OF_OWNERS and wanted.lower() == owner.lower()

    def _default_branch(self, repository: RepositoryId) -> str | None:
        with self._explained(repository):
            return self._git.default_branch(self.config.source_of(repository))

    def _refs(
        self, repository: RepositoryId, prefix: str, name: str | None
    ) -> Iterator[tuple[str, str]]:
        """Yield short names and commits; only those with one name, if it is given."""
        source = self.config.source_of(repository)
        with self._explained(repository):
            for ref in self._git.refs(source, prefix=prefix + (name or "")):
                short = ref.name.removeprefix(prefix)
                if name is None or short == name:
                    yield short, ref.commit

    def _described(self, repositories: Iterable[RepositoryId]) -> "Iterator[Repository]":
        failed: ProviderError | None = None
        for each in repositories:
            try:
                branch = self._default_branch(each)
            except self.REFUSALS_OF_ONE as error:
                failed = failed or error
                continue
            yield self.describe(each, branch)
        if failed is not None:
            raise failed

    @contextmanager
    def _explained(self, repository: RepositoryId) -> Iterator[None]:
        """Add to an error which repository it is about, and what to do."""
        try:
            yield
        except NotFound as error:
            error.message = f"{self.not_found_at(repository)} {error.message}"
            error.hint = self.check_name(repository)
            error.add_context(repository=str(repository))
            raise
        except (AuthenticationFailed, PermissionDenied) as error:
            error.hint = self.check_credentials(repository)
            error.add_context(repository=str(repository))
            raise

    def _unknown_owner(self, owner: str) -> NotFound:
        config = self.config
        return NotFound(
            f"Provider {config.name} has no repository of {owner!r}: in mode {config.mode}, a"
            " provider has only the repositories of its field repositories.",
            hint=f"Add its repositories: deploycore provider edit {config.name} --repositories"
            f" '{config.repositories} …'",
            owner=owner,
        )
