"""Shell completion for bash, zsh and fish: commands, options, and names from the database.

A shell starts a process for each Tab, while a person waits. For speed, this module does not import
the commands, whose parameters are in ``completion_table``, and it does not open the store: it reads
names from the SQLite file. Slow answers, such as a git host's, come from a separate process
(``completion_answers``) and are kept for a minute. A Tab waits for them for at most a second.

The scripts for the shells are Typer's: ``deploycore --show-completion`` prints them.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False  # type checkers treat this as true; importing typing would cost 10 ms
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from deploycore.cli.completion_table import Source

    Offer = tuple[str, str]
    """A value and a short description, which bash does not show."""

__all__ = ["QUERIES", "complete", "database_url", "home", "offers", "rows_of_sqlite"]

QUERIES = {
    "applications": "SELECT name, target FROM applications ORDER BY name",
    "deployments": "SELECT id, application || ' ' || state FROM deployments"
    " ORDER BY id DESC LIMIT 100",
    "owners of keys": "SELECT name, 'application' FROM applications"
    " UNION SELECT name, 'provider' FROM providers ORDER BY name",
    "providers": "SELECT name, kind FROM providers ORDER BY name",
    "tokens": "SELECT name, role FROM tokens ORDER BY name",
    "unfinished": "SELECT id, application || ' ' || state FROM deployments"
    " WHERE finished_at IS NULL ORDER BY id DESC LIMIT 100",
    "users": "SELECT name, role FROM users ORDER BY name",
    "webhooks": "SELECT application, '' FROM webhooks ORDER BY application",
}
"""The queries for names in the database. Each returns values and descriptions."""

_SHELLS = ("bash", "fish", "zsh")
_GENERAL = ("--help", "--version", "--install-completion", "--show-completion")
_SAFE = frozenset("-._/@+:,%=")


def complete(instruction: str) -> int | None:
    """Print the completions that a shell asks for.

    Args:
        instruction: The value of ``_DEPLOYCORE_COMPLETE``, such as ``complete_bash``.

    Returns:
        The exit code; ``None`` if Typer must answer, as for other shells.
    """
    asked, _, shell = instruction.partition("_")
    if asked != "complete" or shell not in _SHELLS:
        return None
    try:
        found = list(offers(*(_bash_words() if shell == "bash" else _words())))
    except Exception:  # an error message would disturb the line that is being typed
        found = []
    if shell == "bash":
        print("\n".join(value for value, _ in found))
    elif shell == "zsh":
        print(_for_zsh(found))
    elif os.environ.get("_TYPER_COMPLETE_FISH_ACTION") == "is-args":
        return 0 if found else 1
    else:
        print("\n".join(f"{value}\t{about}" if about else value for value, about in found))
    return 0


def offers(words: Sequence[str], unfinished: str) -> Iterator[Offer]:
    """Return the completions for the last word of a command line.

    Args:
        words: The complete words before it, without the program's name.
        unfinished: The typed part of the last word.
    """
    for value, about in _Line(list(words), unfinished).offers():
        if value.startswith(unfinished) and _is_safe(value):
            yield value, about if _is_safe(about.replace(" ", "")) else ""


class _Line:
    """A command line up to the cursor."""

    def __init__(self, words: list[str], unfinished: str) -> None:
        from deploycore.cli.completion_table import PARAMETERS

        self._table = PARAMETERS
        self._unfinished = unfinished
        if words[:1] == ["help"]:
            del words[0]
        depth = next((n for n in (2, 1) if " ".join(words[:n]) in PARAMETERS), 0)
        self._command = " ".join(words[:depth])
        self._first = words
        self._arguments: list[str] = []
        self._given: dict[str, str] = {}
        self._open = ""  # the option whose value comes next
        self._options = dict(PARAMETERS[self._command][1]) if depth else {}
        self._read(words[depth:])

    def offers(self) -> Iterable[Offer]:
        """Return all possible values here, regardless of what is typed already."""
        if not self._command:
            return self._commands()
        options = self._all_options()
        if self._open:
            return self._values(options.get(self._open, ""))
        if self._unfinished.startswith("-"):
            name, equals, _ = self._unfinished.partition("=")
            if equals:
                return ((f"{name}={v}", a) for v, a in self._values(options.get(name, "")))
            return [(option, "") for option in options if option not in self._given]
        taken = self._table[self._command][0]
        if not taken:
            return ()
        repeated = taken[-1] == "..."
        sources = taken[:-1] if repeated else taken
        if len(self._arguments) < len(sources):
            return self._values(sources[len(self._arguments)])
        return self._values(sources[-1]) if repeated else ()

    def _read(self, words: Iterable[str]) -> None:
        options = self._options
        for word in words:
            if self._open:
                self._given[self._open], self._open = word, ""
            elif word.startswith("-") and word != "-":
                name, equals, value = word.partition("=")
                self._given[name] = value
                takes = options.get(name, None if name.endswith("-stdin") else "")
                if not equals and (name in options or self._has_fields) and takes is not None:
                    self._open = name
            else:
                self._arguments.append(word)

    @property
    def _has_fields(self) -> bool:
        return self._command == "provider add"

    def _commands(self) -> Iterator[Offer]:
        from deploycore.cli import COMMANDS

        if self._unfinished.startswith("-"):
            yield from ((option, "") for option in _GENERAL if not self._first)
        elif not self._first:
            yield from ((name, summary) for name, (_, summary) in COMMANDS.items())
        elif len(self._first) == 1:
            group = self._first[0] + " "
            for name in self._table:
                if name.startswith(group):
                    yield name.removeprefix(group), ""

    def _all_options(self) -> dict[str, Source]:
        if self._has_fields and (kind := self._given.get("--kind")):
            return self._options | _fields(kind)
        return self._options

    def _values(self, source: Source) -> Iterable[Offer]:
        if not isinstance(source, str):
            return [(choice, "") for choice in source or ()]
        given = set(self._arguments)
        if source in QUERIES:
            found = [offer for offer in _rows(source) if offer[0] not in given]
            if source == "deployments":  # an application's name means its last deployment
                found += _rows("applications")
            return found
        if source == "releases":
            return _releases(self._arguments[0]) if self._arguments else ()
        if source in ("kinds", "sandboxes"):
            return _kinds(source)
        if source in ("repositories", "branches", "owners"):
            return self._of_host(source)
        return ()

    def _of_host(self, source: str) -> Iterable[Offer]:
        names = iter(self._arguments)
        is_application = self._command.startswith("app ")
        provider = self._given.get("--provider") if is_application else next(names, None)
        repository = self._given.get("--repository") if is_application else next(names, None)
        if not provider or provider not in dict(_rows("providers")):
            return ()
        if source != "branches":
            return _answer([source, provider])
        return _answer([source, provider, repository]) if repository else ()


def home() -> str:
    """Return the data directory, as ``deploycore.settings`` does."""
    named = os.environ.get("DEPLOYCORE_HOME")
    if named:
        return os.path.abspath(os.path.expanduser(named))
    from platformdirs import user_data_dir

    return user_data_dir("deploycore", appauthor=False)


def database_url() -> str:
    """Return the URL of the configured database; empty for the default file."""
    return os.environ.get("DEPLOYCORE_DATABASE_URL", "")


def rows_of_sqlite(query: str) -> list[Offer]:
    """Query the SQLite file, without changing anything or waiting for a lock."""
    import sqlite3

    path = _sqlite_path()
    is_still = not any(os.path.exists(path + end) for end in ("-wal", "-journal"))
    escaped = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    # Without `immutable`, SQLite creates files beside the database even to read it.
    uri = f"file:{escaped}?mode=ro{'&immutable=1' if is_still else ''}"
    connection = sqlite3.connect(uri, uri=True, timeout=0.1)
    try:
        return [(str(value), str(about or "")) for value, about in connection.execute(query)]
    finally:
        connection.close()


def _sqlite_path() -> str:
    url = database_url()
    if not url:
        return os.path.join(home(), "deploycore.db")
    path = url.partition(":///")[2].partition("?")[0]
    if "%" in path:
        from urllib.parse import unquote

        path = unquote(path)
    return os.path.abspath(path)


def _rows(source: str) -> list[Offer]:
    if not database_url().partition(":")[0].startswith("postgres"):
        return rows_of_sqlite(QUERIES[source])
    return _answer(["rows", source])


def _answer(question: list[str]) -> list[Offer]:
    from deploycore.cli.completion_cache import answer

    return answer(question)


def _releases(application: str) -> list[Offer]:
    target = dict(_rows("applications")).get(application)
    if not target:
        return []
    names = os.listdir(os.path.join(target, "releases"))
    return [(name, "") for name in sorted(names, reverse=True) if not name.startswith(".")]


def _kinds(source: str) -> list[Offer]:
    from importlib.metadata import entry_points

    group = "deploycore.providers" if source == "kinds" else "deploycore.sandboxes"
    return [(name, "") for name in sorted({point.name for point in entry_points(group=group)})]


def _fields(kind: str) -> dict[str, Source]:
    """Return the options for a provider's fields, as far as they are cached."""
    from deploycore.cli.completion_cache import answer, stamp_of_kind

    stamp = stamp_of_kind(kind)
    found = answer(["fields", kind, stamp], seconds=None) if stamp else []
    return {option: _field_source(about) for option, about in found}


def _field_source(about: str) -> Source:
    if about == "flag":
        return None
    return tuple(about.split(",")) if about else ""


def _is_safe(text: str) -> bool:
    """Whether a shell uses a name literally.

    Names come from git hosts. One with a quote, a semicolon or a dollar sign could run a command
    after Tab has inserted it.
    """
    is_plain = all(character.isalnum() or character in _SAFE for character in text)
    return is_plain and not text.startswith(("=", "%"))  # some shells read these as a path or a job


def _bash_words() -> tuple[list[str], str]:
    """Return the complete words and the unfinished one. Bash splits ``--option=value`` in three."""
    text = os.environ.get("COMP_WORDS", "")
    given = text.split("\n") if "\n" in text else text.split()
    position = int(os.environ.get("COMP_CWORD", "0"))
    words, unfinished = given[1:position], "".join(given[position : position + 1])
    if unfinished == "=":
        unfinished = ""
    elif words[-1:] == ["="]:
        words.pop()
    return [word for word in words if word != "="], unfinished


def _words() -> tuple[list[str], str]:
    text = os.environ.get("_TYPER_COMPLETE_ARGS", "")
    words = text.split()[1:]
    is_begun = bool(words) and not text.endswith(" ")
    return (words[:-1], words[-1]) if is_begun else (words, "")


def _for_zsh(found: Iterable[Offer]) -> str:
    """Format completions for ``eval`` in Typer's function for zsh."""
    shown = [f'"{_escaped(v)}":"{_escaped(a)}"' if a else f'"{_escaped(v)}"' for v, a in found]
    return "_arguments '*: :(({}))'".format("\n".join(shown)) if shown else "_files"


def _escaped(text: str) -> str:
    return text.replace(":", r"\\:")  # no other safe character is special to zsh
