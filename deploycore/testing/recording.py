"""Records what a real host answers, for ``recorded`` to play; for authors who have an account.

Put into the account what a scenario asks for (:mod:`deploycore.testing.scenarios` says what),
then::

    record("acme", settings, ONE, Path("tests/recorded"), owner="ada")
    record_refusal("acme", {**settings, "token": expired}, Access.EXPIRED, Path("tests/recorded"))

The provider is pointed at a host on loopback that hands its requests on and keeps the answers.
No header of a request is kept, and no secret of ``settings`` or of an ``Authorization`` header,
in whatever form it comes back; read the files nevertheless before you publish them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr

from deploycore.configuration import parse_config
from deploycore.errors import ConfigurationError, DeploycoreError
from deploycore.http.authorisation import Authorisation
from deploycore.models import BranchQuery, RepositoryId, RepositoryQuery
from deploycore.observers import Observers
from deploycore.provider import Provider
from deploycore.redaction import Redactor
from deploycore.registry import load_plugin
from deploycore.testing.host import LoopbackHost
from deploycore.testing.messages import Answer, Request
from deploycore.testing.recorded import REFUSALS, Exchange, RecordedRepository, Recording
from deploycore.testing.scenarios import (
    HIDDEN,
    ODD_BRANCHES,
    UNKNOWN_BRANCHES,
    UNKNOWN_OWNERS,
    UNKNOWN_SLUG,
    Access,
    NotArranged,
    Scenario,
)

__all__ = ["Recorder", "record", "record_refusal"]

SECONDS_MOST = 60
LISTED_BRANCHES_OF = 3
_NOT_SENT_ON = frozenset({"host", "connection", "accept-encoding", "content-length"})
_NOT_KEPT = frozenset(
    {"set-cookie", "authorization", "content-length", "content-encoding", "transfer-encoding",
     "connection", "keep-alive", "date", "server", "strict-transport-security"}
)  # fmt: skip

Settings = Mapping[str, str | SecretStr]


class Recorder(LoopbackHost):
    """Hands requests on to a host, and keeps what it answers.

    Args:
        origin: The host's, such as ``https://acme.example``.
        secrets: Never to be kept.
    """

    def __init__(self, origin: str, secrets: Iterable[SecretStr]) -> None:
        super().__init__()
        self._origin = origin
        self._secrets = list(secrets)
        self._kept: dict[tuple[str, str], Exchange] = {}

    @property
    def secrets(self) -> Iterable[SecretStr]:
        """Those that were given, and those that were sent."""
        return tuple(self._secrets)

    @property
    def exchanges(self) -> list[Exchange]:
        """All so far, each once; of a repeated one the last."""
        return list(self._kept.values())

    def answer(self, request: Request) -> Answer:
        """What the host answers, with this host's address in the place of its own."""
        if sent := request.headers.get("authorization"):
            self._secrets += [SecretStr(part) for part in (sent, sent.partition(" ")[2])]
        headers = {
            name: value for name, value in request.headers.items() if name not in _NOT_SENT_ON
        }
        found = requests.request(
            request.method,
            self._origin + request.target,
            headers=headers,
            data=request.body,
            auth=Authorisation(None),  # else requests puts what .netrc has over the header
            timeout=SECONDS_MOST,
            allow_redirects=False,
        )
        self._keep(request, found)
        there, here = self._origin.encode(), self.url.encode()
        kept = {name: value for name, value in found.headers.items() if _is_kept(name)}
        here_headers = {name: value.replace(self._origin, self.url) for name, value in kept.items()}
        return Answer(found.status_code, here_headers, found.content.replace(there, here))

    def _keep(self, request: Request, found: requests.Response) -> None:
        headers = {
            name.title(): self.masked(value)
            for name, value in found.headers.items()
            if _is_kept(name)
        }
        text = self.masked(found.content.decode("utf-8", "replace"))
        body: Any = text
        if "json" in headers.get("Content-Type", ""):
            with suppress(ValueError):
                body = json.loads(text)
        # Links lead back here, since the host's own address was replaced.
        target = self.masked(request.target)
        self._kept[request.method, target] = Exchange(
            method=request.method,
            target=target,
            status=found.status_code,
            headers=headers,
            body=body,
        )


def record(
    kind: str,
    settings: Settings,
    scenario: Scenario,
    directory: Path,
    *,
    owner: str,
    origins: Iterable[str] = (),
) -> Path:
    """Write the file of a scenario, by the calls that the kit's checks make.

    Args:
        kind: The provider's kind.
        settings: Its configuration, without ``name``; the address of the host is among it,
            even where it is there by default.
        directory: Where the file goes; made if need be.
        owner: Whose repositories they are.
        origins: Further origins of the host that its answers name.

    Returns:
        The file.

    Raises:
        NotArranged: The account does not hold what the scenario asks for.
        DeploycoreError: The host refuses or fails.
    """
    with _recording(kind, settings) as (provider, recorder, origin):
        listed = list(provider.list_repos())
        rows = {row.slug: row for row in scenario.repositories}
        if {row.slug for row in listed} != set(rows):
            wanted, seen = ", ".join(sorted(rows)), ", ".join(sorted(row.slug for row in listed))
            raise NotArranged(
                f"scenario {scenario.name!r} asks for these repositories and no others: "
                f"{wanted or 'none'}. The host lists: {seen or 'none'}"
            )
        repositories = [
            RecordedRepository(
                slug=row.slug,
                name=rows[row.slug].name if row.name == rows[row.slug].name else "",
                private=rows[row.slug].private,
                default_branch=rows[row.slug].default_branch,
                branches=_branches(provider, row.id, number, rows[row.slug].files is None),
            )
            for number, row in enumerate(listed)
        ]
        for call in _calls(provider, owner, [row.slug for row in listed]):
            with suppress(DeploycoreError):
                call()
        recording = Recording(
            recorded_from=[origin, *origins],
            owner=owner,
            repositories=repositories,
            exchanges=recorder.exchanges,
        )
        return _write(directory / f"{scenario.name}.json", recording.model_dump(), recorder)


def record_refusal(kind: str, settings: Settings, access: Access, directory: Path) -> Path:
    """Write into the file of refusals what credentials get that are good for nothing.

    Args:
        settings: As for ``record``, with such credentials.
        access: ``WRONG``, ``EXPIRED`` or ``UNSCOPED``.

    Raises:
        NotArranged: The host does not refuse them.
    """
    with _recording(kind, settings) as (provider, recorder, origin):
        with suppress(DeploycoreError):
            list(provider.list_repos())
        refused = [each for each in recorder.exchanges if each.status >= 400]
        if not refused:
            raise NotArranged(f"the host refuses nothing to credentials that are {access.value}")
        file = directory / REFUSALS
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        answer = refused[-1].model_dump(include={"status", "headers", "body"})
        origins = [*known.get("recorded_from", []), origin]
        content = {**known, "recorded_from": list(dict.fromkeys(origins)), access.value: answer}
        return _write(file, content, recorder)


@contextmanager
def _recording(kind: str, settings: Settings) -> Iterator[tuple[Provider, Recorder, str]]:
    plugin = load_plugin(kind)
    config = parse_config(plugin.config_type, {"name": "recording", **settings}, kind=kind)
    api = urlsplit(config.api_base_url)
    origin = f"{api.scheme}://{api.netloc}"
    secrets = [value for value in settings.values() if isinstance(value, SecretStr)]
    with Recorder(origin, secrets) as recorder:
        here = {
            name: value.replace(origin, recorder.url) if isinstance(value, str) else value
            for name, value in settings.items()
        }
        if here == dict(settings):
            raise ConfigurationError(
                f"No setting has the address {origin}, so that it can't be recorded.",
                hint="Give the address of the host, even where it is there by default.",
            )
        config = parse_config(plugin.config_type, {"name": "recording", **here}, kind=kind)
        with Provider(plugin, config, observers=Observers()) as provider:
            yield provider, recorder, origin


def _branches(
    provider: Provider, repository: RepositoryId, number: int, empty: bool
) -> dict[str, str]:
    """The branches of a repository; those of a long list of empty ones are not asked for."""
    if empty and number >= LISTED_BRANCHES_OF:
        return {}
    return {row.name: row.commit for row in provider.list_branches(repository)}


def _is_kept(header: str) -> bool:
    return header.lower() not in _NOT_KEPT


def _calls(provider: Provider, owner: str, slugs: list[str]) -> Iterator[Callable[[], object]]:
    """What the checks ask beyond all repositories and their branches."""

    def repositories(**query: Any) -> Callable[[], object]:
        return lambda: list(provider.list_repos(RepositoryQuery(**query)))

    def branches(slug: str, **query: Any) -> Callable[[], object]:
        repository = RepositoryId(owner=owner, slug=slug)
        return lambda: list(provider.list_branches(repository, BranchQuery(**query)))

    yield provider.authenticate
    yield repositories(owner=owner)
    yield from (repositories(owner=name) for name in UNKNOWN_OWNERS)
    yield from (repositories(limit=limit) for limit in (3, 5))
    yield from (repositories(name_contains=part) for part in ("Y-24",))
    yield lambda: list(provider.list_branches(HIDDEN))
    yield branches(UNKNOWN_SLUG)
    yield branches(UNKNOWN_SLUG, name="main")
    for slug in slugs[-1:]:
        yield repositories(name_contains=slug.upper(), limit=1)
    for slug in slugs[:1]:
        yield from (branches(slug, name=name) for name in (*ODD_BRANCHES, *UNKNOWN_BRANCHES))
        yield branches(slug, name="main", limit=1)
        yield branches(slug, name_contains="C/24")
        yield branches(slug, name="topic/249")


def _write(file: Path, content: Any, recorder: Recorder) -> Path:
    text = Redactor(recorder.secrets).mask(json.dumps(content, ensure_ascii=False, indent=1))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", encoding="utf-8")
    return file
