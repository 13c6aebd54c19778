"""A host that plays recorded answers of the real one, so that the kit sees what it really says.

A sandbox says what its author believes of a host; recorded answers say what the host said. A
directory holds one file for each scenario, ``one.json`` and so on, which
:mod:`deploycore.testing.recording` writes from an account that holds the scenario::

    {
      "recorded_from": ["https://acme.example"],
      "owner": "ada",
      "repositories": [
        {"slug": "shop", "name": "The Shop", "private": true, "default_branch": "trunk",
         "branches": {"trunk": "4f1d…"}}
      ],
      "exchanges": [
        {"method": "GET", "target": "/api/v1/user", "status": 200,
         "headers": {"Content-Type": "application/json"}, "body": {"login": "ada"}}
      ]
    }

and ``refusals.json``, with what wrong, expired and unscoped credentials get::

    {"recorded_from": ["https://acme.example"],
     "wrong": {"status": 401, "headers": {}, "body": "Bad credentials"}}

``recorded_from`` are the origins that stand in headers and bodies; this host puts its own in
their place. ``repositories`` stand in the order in which the host lists them, a body is JSON
where its content type is. Git is served from small repositories that are made for it, and
their hashes put in the place of the recorded ones.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import parse_qsl

from pydantic import Field

from deploycore.errors import UnexpectedAnswer
from deploycore.http import AnswerModel, parse_answer
from deploycore.models import CommitHash, NonEmpty
from deploycore.testing.git_http import is_git_request
from deploycore.testing.host import Route
from deploycore.testing.messages import Answer, Refusal, Request, text_answer
from deploycore.testing.sandbox import Credential, Sandbox, credentials_of
from deploycore.testing.scenarios import Access, Arranged, NotArranged, Scenario, Wanted

__all__ = [
    "REFUSALS",
    "Exchange",
    "RecordedAnswer",
    "RecordedHost",
    "RecordedRepository",
    "Recording",
]

REFUSALS = "refusals.json"
REFUSED = (Access.WRONG, Access.EXPIRED, Access.UNSCOPED)
NOT_RECORDED = 501
MADE_AT = 1_000_000_000


class RecordedAnswer(AnswerModel):
    """What a host answered, without what must not be kept."""

    status: int
    headers: dict[str, str] = Field(default_factory=dict)
    body: Any = None

    def answer(self, replacements: Mapping[str, str]) -> Answer:
        """The same, with other texts in the place of some."""
        kind = self.headers.get("Content-Type", "")
        text = self.body if isinstance(self.body, str) and "json" not in kind else None
        body = json.dumps(self.body, ensure_ascii=False) if text is None else text
        headers = {name: _replaced(value, replacements) for name, value in self.headers.items()}
        return Answer(self.status, headers, _replaced(body, replacements).encode())


class Exchange(RecordedAnswer):
    """A request, without its headers, and its answer."""

    method: NonEmpty
    target: NonEmpty


class RecordedRepository(AnswerModel):
    """A repository that was there, as the scenario asks for it."""

    slug: NonEmpty
    name: str = ""
    private: bool
    default_branch: NonEmpty
    branches: dict[str, CommitHash]


class Recording(AnswerModel):
    """One file: a scenario as a host had it."""

    recorded_from: list[NonEmpty]
    owner: NonEmpty
    repositories: list[RecordedRepository]
    exchanges: list[Exchange]


class _Refusals(AnswerModel):
    recorded_from: list[NonEmpty]
    wrong: RecordedAnswer | None = None
    expired: RecordedAnswer | None = None
    unscoped: RecordedAnswer | None = None


class RecordedHost(Sandbox):
    """Plays the recorded answers of a directory.

    Put it before the provider's own sandbox, which says how credentials look and how git
    servers and rate limits are; then give it to the kit::

        class AcmeRecorded(RecordedHost, AcmeSandbox):
            DIRECTORY = Path(__file__).parent / "recorded"

        class TestRecordedAcme(AcmeContract):
            sandbox = AcmeRecorded

    Attributes:
        DIRECTORY: Where the files are. ``OWNER`` is the owner that they were recorded for.
    """

    DIRECTORY: ClassVar[Path]

    def __init__(self, *, port: int = 0, latency: float = 0.0) -> None:
        super().__init__(port=port, latency=latency)
        # Repositories that shared a commit have to share what is put in its place.
        self.git.clock = lambda: MADE_AT
        self.__file = self.DIRECTORY
        self.__exchanges: dict[object, Exchange] = {}
        self.__replacements: dict[str, str] = {}
        self.__access: dict[str, Access] = {}

    @classmethod
    def demo(cls, port: int = 0) -> Self:
        """Nothing but a running host: what it holds is in its files."""
        return cls(port=port).start()

    def routes(self) -> Mapping[str, Route]:
        """None: every answer is in the files."""
        return {}

    def arrange(self, scenario: Scenario) -> tuple[Arranged, ...]:
        """Play the file of a scenario.

        Raises:
            NotArranged: There is no such file, it is not of the form that is asked for, or it
                was recorded for another owner.
        """
        self.__file = self.DIRECTORY / f"{scenario.name}.json"
        recording = _read(self.__file, Recording)
        if recording.owner != self.OWNER:
            raise NotArranged(
                f"{self.__file} was recorded for {recording.owner!r}: set OWNER = "
                f"{recording.owner!r}, or record it for {self.OWNER!r}"
            )
        wanted = tuple(map(_wanted, recording.repositories))
        arranged = super().arrange(Scenario(scenario.name, wanted))
        self.__exchanges = {_key(each.method, each.target): each for each in recording.exchanges}
        self.__replacements = dict.fromkeys(recording.recorded_from, self.url)
        for known, row in zip(recording.repositories, arranged, strict=True):
            for branch, commit in known.branches.items():
                self.__replacements[commit] = row.branches[branch]
        return arranged

    def add_credential(
        self, mode: str, access: Access = Access.FULL, *, scopes: Collection[str] | None = None
    ) -> Credential:
        """Make up credentials; which refusal they get is in the file of refusals.

        Raises:
            NotArranged: It is not there.
        """
        if access in REFUSED:
            self._refusal_of(access)
        credential = super().add_credential(mode, access, scopes=scopes)
        self.__access[credential.secret.get_secret_value()] = access
        return credential

    def answer(self, request: Request) -> Answer:
        """From the file of the scenario; git by git's rules."""
        if is_git_request(request):
            return super().answer(request)
        _, secret = credentials_of(request, token_header=self.TOKEN_HEADER)
        access = self.__access.get(secret, Access.WRONG)
        if access in REFUSED:
            raise Refusal(self._refusal_of(access))
        self.caller(request)
        found = self.__exchanges.get(_key(request.method, request.target))
        if found is None:
            return text_answer(
                f"{request.method} {request.target} is not among the exchanges of "
                f"{self.__file}: record it, or write it there.\n",
                NOT_RECORDED,
            )
        return found.answer(self.__replacements)

    def _refusal_of(self, access: Access) -> Answer:
        file = self.DIRECTORY / REFUSALS
        refusals = _read(file, _Refusals)
        found: RecordedAnswer | None = getattr(refusals, access.value)
        if found is None:
            raise NotArranged(f"{file} has nothing under {access.value!r}: record it there")
        return found.answer(dict.fromkeys(refusals.recorded_from, self.url))


def _read(file: Path, expected: type[Any]) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
        return parse_answer(expected, json.loads(text), what="a recording")
    except FileNotFoundError:
        fault = f"there is no file {file}: record it (deploycore.testing.recording)"
    except (ValueError, UnexpectedAnswer) as error:
        fault = f"{file} is not a recording: {error}"
    raise NotArranged(fault)


def _wanted(row: RecordedRepository) -> Wanted:
    others = tuple(name for name in row.branches if name != row.default_branch)
    commit = row.branches.get(row.default_branch, "")
    files = {"README.md": f"Commit {commit}\n".encode()} if row.branches else None
    return Wanted(row.slug, row.name, row.private, row.default_branch, others, files)


def _key(method: str, target: str) -> object:
    path, _, query = target.partition("?")
    return method, path, tuple(sorted(parse_qsl(query, keep_blank_values=True)))


def _replaced(text: str, replacements: Mapping[str, str]) -> str:
    for old in sorted(replacements, key=len, reverse=True):
        text = text.replace(old, replacements[old])
    return text
