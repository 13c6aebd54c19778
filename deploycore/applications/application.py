"""The model of an application: what is deployed where, and how.

The command line, declarative files and the Python API all use this model. It is validated as a
whole, so that a deployment never meets an invalid value.
"""

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from deploycore.applications import PROVIDER_SECONDS
from deploycore.applications.fields import (
    AbsolutePath,
    Name,
    RelativePath,
    Seconds,
    Text,
    number_as_text,
)
from deploycore.applications.steps import HealthCheck, Step, Steps
from deploycore.distribution import documentation_page
from deploycore.errors import ConfigurationError
from deploycore.models import Model, RepositoryId, is_commit_hash
from deploycore.text.storable import find_unstorable, is_storable_text
from deploycore.text.validation import Problem, find_problems

__all__ = [
    "VARIABLE_PATTERN",
    "Application",
    "AutoDeploy",
    "HealthCheck",
    "Limits",
    "Links",
    "Previews",
    "SecretSource",
    "Shared",
    "Step",
    "Steps",
    "Timeouts",
    "parse_application",
]

_AS_TEXT, _AS_SECRET, _AS_RULES = "(text)", "(secret)", "(rules)"
VARIABLE_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
_VARIABLE = re.compile(VARIABLE_PATTERN)
_SECRET = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:[/~].*|stored")


class SecretSource(Model):
    """Where a variable's secret value is read from each time it is needed.

    Attributes:
        secret: ``env:NAME``, ``file:/absolute/path``, or ``stored`` for one that was given to
            ``deploycore app secret`` and is kept encrypted.
    """

    secret: str

    @field_validator("secret")
    @classmethod
    def _is_a_source(cls, text: str) -> str:
        if not _SECRET.fullmatch(text):
            raise ValueError("should be env:NAME, file:/absolute/path or stored")
        return text


EnvironmentValue = Annotated[
    Annotated[str, BeforeValidator(number_as_text), Tag(_AS_TEXT)]
    | Annotated[SecretSource, Tag(_AS_SECRET)],
    Discriminator(
        lambda value: _AS_SECRET if isinstance(value, Mapping | SecretSource) else _AS_TEXT
    ),
]


class Shared(Model):
    """Paths that all releases share: stored in ``shared/`` and linked into each release.

    The first content is what the repository has at the path. If it has nothing there, the
    directory or file is created empty.

    Attributes:
        directories: Paths of directories, relative to the release.
        files: Paths of files, relative to the release.
    """

    directories: tuple[RelativePath, ...] = ()
    files: tuple[RelativePath, ...] = ()

    @model_validator(mode="after")
    def _are_apart(self) -> Self:
        paths = sorted([*self.directories, *self.files], key=lambda path: path.split("/"))
        for one, other in pairwise(paths):
            if one == other:
                raise ValueError(f"{other!r} is shared twice")
            if other.startswith(f"{one}/"):
                raise ValueError(f"{other!r} is within {one!r}, which is shared as a whole")
        return self


class Links(Model):
    """Symbolic links that may lead out of the release; all others that do are refused.

    Attributes:
        allow: Paths within the release of such links, or of directories with such links.
    """

    allow: tuple[RelativePath, ...] = ()


_Limit = Annotated[int, Field(ge=0, le=2**53)]


class Limits(Model):
    """Limits on the size of a repository (default: those of ``GitSettings``, in parentheses).

    Attributes:
        submodules: Submodules together, those of submodules included (1,000).
        submodule_depth: Submodules within submodules (8).
        files: Files and directories together, submodules included (400,000).
        path_depth: Directories within directories (128).
        objects: Objects of git that are received at once (1,000,000).
        pack_bytes: Bytes that are received for one repository (4 GiB).
        object_bytes: Bytes of the largest file (512 MiB).
        checkout_bytes: Bytes of all files together (16 GiB).
        tree_bytes: Bytes of all names of files and directories together (48 MiB).
        held_bytes: Bytes in memory for links, submodules and attributes (16 MiB).
        lfs_objects: Files in Git LFS (10,000).
        lfs_bytes: Bytes of all files in Git LFS together (16 GiB).
    """

    submodules: Annotated[int, Field(ge=0, le=100_000)] | None = None
    submodule_depth: Annotated[int, Field(ge=0, le=64)] | None = None
    files: _Limit | None = None
    path_depth: Annotated[int, Field(ge=0, le=1_000)] | None = None
    objects: _Limit | None = None
    pack_bytes: _Limit | None = None
    object_bytes: _Limit | None = None
    checkout_bytes: _Limit | None = None
    tree_bytes: _Limit | None = None
    held_bytes: _Limit | None = None
    lfs_objects: _Limit | None = None
    lfs_bytes: _Limit | None = None

    @property
    def git_settings(self) -> dict[str, Any]:
        """The limits that are set, by their names in ``GitSettings``."""
        return {f"max_{name}": limit for name, limit in self if limit is not None}


LinkRules = Annotated[
    Annotated[Literal["refuse", "write-as-files"], Tag(_AS_TEXT)]
    | Annotated[Links, Tag(_AS_RULES)],
    Discriminator(lambda value: _AS_RULES if isinstance(value, Mapping | Links) else _AS_TEXT),
]


class Timeouts(Model):
    """Time limits of a deployment, in seconds.

    Attributes:
        fetch: Git, including submodules and LFS.
        deploy: The whole deployment, from its start to the last step.
        provider: Each call of the provider's plugin.
    """

    fetch: Seconds = 1800.0
    deploy: Seconds = 7200.0
    provider: Seconds = PROVIDER_SECONDS


class Previews(Model):
    """Previews: separate applications for pull requests into an application's branch.

    A preview has the application's definition, except for the fields here. It never gets the
    application's secrets, only the environment defined here.

    Attributes:
        name: The name of a preview; ``{application}`` and ``{number}`` are replaced.
        target: Its directory; ``{application}``, ``{number}`` and ``{branch}`` are replaced.
        environment: Its variables, instead of the application's.
        limit: Maximum number of previews at once; no more are created.
        forks: Whether pull requests from forks get a preview too. Anyone who can open a pull
            request can then run code on this machine.
    """

    name: Text = "{application}-pr-{number}"
    target: Text
    environment: Mapping[str, EnvironmentValue] = Field(default_factory=dict)
    limit: Annotated[int, Field(ge=1, le=1000)] = 10
    forks: bool = False

    @model_validator(mode="after")
    def _tells_them_apart(self) -> Self:
        for field in ("name", "target"):
            text = getattr(self, field)
            if "{number}" not in text:
                raise ValueError(
                    f"{field} should contain {{number}}, so that each preview has its own"
                )
        return self


class AutoDeploy(Model):
    """Automatic deployments of an application.

    Attributes:
        push: Whether to deploy when a webhook reports a push.
        poll: Whether to poll the git host: ``auto`` (if no webhook delivers), ``off``, or the
            number of seconds between polls.
        report_status: Whether to report the outcome to the git host, which shows it.
        previews: Previews for pull requests; ``None`` for no previews.
    """

    push: bool = True
    poll: Literal["auto", "off"] | Annotated[float, Field(ge=10, le=86_400)] = "auto"
    report_status: bool = True
    previews: Previews | None = None


class Application(Model):
    """What is deployed where, and how.

    Attributes:
        name: The application's name.
        provider: The name of a configured provider.
        repository: ``owner/slug``.
        ref: A branch, a tag, or the full hash of a commit.
        target: The directory of ``releases/``, ``shared/`` and ``current``. It is an absolute
            path that no other application uses.
        submodules: Whether to fetch submodules too.
        credentials: Names of further providers. Submodules at their origins are fetched with
            their credentials, and with no other ones.
        lfs: Whether to download files in Git LFS. Otherwise their pointers are written.
        attributes: Whether to apply the attributes ``export-ignore``, ``text`` and ``eol``.
        links: What to do with symbolic links that lead out of the release: ``refuse``,
            ``write-as-files``, or the links that are allowed.
        limits: Limits on the size of the repository.
        reuse: How unchanged files are reused: ``copy`` or ``hard-link``. See
            ``deploycore.git.export`` for the risk of hard links.
        shared: Paths that all releases share.
        environment: Variables for steps and health checks. Of deploycore's own environment they
            get only PATH, HOME, LANG and the like.
        steps: Commands to run for a release.
        health_check: How to check that a release works; ``None`` for no check.
        keep: Number of different commits that worked whose releases are kept. The live release,
            the one before it and the one that a rollback goes to are always kept.
        history_days: Days to keep records of deployments and their logs.
        watch: Patterns as in ``.gitignore``. If there are any, a commit is deployed only if a
            changed file matches one.
        timeouts: Time limits.
        auto_deploy: Automatic deployments; ``None`` for deployments by hand only.
        host: The name of the only machine that deploys it, as ``hostname`` prints it; ``None``
            for every machine with this configuration. These machines must share the target.
    """

    # The defaults are not validated, which would build the schema of each part at import.
    name: Name
    provider: Name
    repository: str
    ref: Annotated[Text, Field(max_length=1024)]
    target: AbsolutePath
    submodules: bool = False
    credentials: tuple[Name, ...] = ()
    lfs: bool = False
    attributes: bool = False
    links: LinkRules = "refuse"
    limits: Limits = Limits.model_construct()
    reuse: Literal["copy", "hard-link"] = "copy"
    shared: Shared = Shared.model_construct()
    environment: Mapping[str, EnvironmentValue] = Field(default_factory=dict)
    steps: Steps = Steps.model_construct()
    health_check: HealthCheck | None = None
    keep: Annotated[int, Field(ge=2, le=1000)] = 5
    history_days: Annotated[int, Field(ge=1, le=36_500)] = 365
    watch: tuple[Text, ...] = ()
    timeouts: Timeouts = Timeouts.model_construct()
    auto_deploy: AutoDeploy | None = None
    host: Text | None = None

    @field_validator("repository")
    @classmethod
    def _is_owner_and_slug(cls, text: str) -> str:
        try:
            return str(RepositoryId.parse(text.strip().strip("/")))
        except ValueError:
            raise ValueError("should be OWNER/REPOSITORY") from None

    @field_validator("credentials")
    @classmethod
    def _are_named_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f"names the provider {name!r} twice")
        return names

    @model_validator(mode="after")
    def _names_other_providers(self) -> Self:
        if self.provider in self.credentials:
            raise ValueError(
                f"credentials should not name {self.provider!r}, which is the application's own"
                " provider"
            )
        return self

    @field_validator("environment")
    @classmethod
    def _are_variables(cls, given: Mapping[str, str | SecretSource]) -> Mapping[str, Any]:
        for name, value in given.items():
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a variable")
            if isinstance(value, str) and "\0" in value:
                raise ValueError(f"the value of {name} has a NUL character")
        return dict(given)

    @property
    def links_written(self) -> list[str]:
        """Paths of links that may lead out of the release; with a slash, of directories of them.

        Those at shared paths never go live: they are replaced first.
        """
        allowed = self.links.allow if isinstance(self.links, Links) else ()
        shared = (*self.shared.directories, *self.shared.files)
        return [*allowed, *(f"{each}/" for each in allowed), *shared]

    @property
    def repository_id(self) -> RepositoryId:
        """The repository, as the provider's hooks take it."""
        return RepositoryId.parse(self.repository)

    @property
    def is_followed(self) -> bool:
        """Whether it is deployed automatically when its ref has moved, in whatever way that is
        detected."""
        return self.auto_deploy is not None and not is_commit_hash(self.ref)

    @property
    def is_polled(self) -> bool:
        """Whether the git host is polled for it."""
        auto = self.auto_deploy
        return auto is not None and auto.poll != "off" and self.is_followed

    def as_dict(self) -> dict[str, Any]:
        """Return plain values without defaults, as ``parse_application`` takes them."""
        return self.model_dump(mode="json", exclude_defaults=True)


def parse_application(values: Mapping[str, Any], *, where: str = "") -> Application:
    """Validate an application that a person wrote.

    Args:
        values: The fields of ``Application``, in plain types.
        where: The place of the values, for messages, such as ``applications/shop``.

    Raises:
        ConfigurationError: The message has one clause for each missing or invalid value, with its
            path but without the value: ``steps/build/0: should have either run or shell``. Its
            details have the same clauses as the list ``fields``.
    """
    problems = [Problem(path, why) for path, why in find_unstorable(values)]
    try:
        if not problems:
            return Application.model_validate(dict(values))
    except ValidationError as error:
        problems = find_problems(error, Application, values)
    within = (where,) if where else ()
    described = "; ".join(Problem((*within, *each.path), each.said).text("/") for each in problems)
    name = values.get("name")
    raise ConfigurationError(
        f"The application {name if _is_text(name) else ''!r} is not valid: {described}.",
        hint=f"See what an application may have: {documentation_page('applications.md')}",
        fields=[each.text("/") for each in problems],
    )


def _is_text(name: object) -> bool:
    return isinstance(name, str) and is_storable_text(name)
