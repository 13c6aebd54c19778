"""``deploycore key``: make, list, rotate and remove the SSH keys of applications and providers."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import deploycore
from deploycore.cli.confirmation import Yes, confirm_at_terminal
from deploycore.cli.options import AsJson
from deploycore.cli.output import Column, say, say_aside, show_json, show_json_array, show_table
from deploycore.cli.usage import NounGroup
from deploycore.errors import DeploycoreError
from deploycore.text.sentences import sentences
from deploycore.times import for_machines, for_people

if TYPE_CHECKING:
    from deploycore.installation.deploy_keys import KeyOutcome
    from deploycore.store import DeployKeyRecord

__all__ = [
    "KeepAtHost",
    "LeftOver",
    "Name",
    "Of",
    "Repositories",
    "Type",
    "confirm_removal",
    "explaining_removal",
    "key_command",
    "register",
    "say_removed",
    "show_keys",
    "show_outcome",
]

Name = Annotated[
    str,
    typer.Argument(
        metavar="APPLICATION|PROVIDER",
        help="Name of the application or the provider.",
        show_default=False,
    ),
]
Of = Annotated[
    Literal["application", "provider"] | None,
    typer.Option(
        "--of",
        help="What has the name: an application or a provider. Required if both have it.",
    ),
]
Type = Annotated[
    Literal["ed25519", "rsa"] | None,
    typer.Option(
        "--type",
        help="Type of the key (default: ed25519). Use rsa for a host that requires it.",
        show_default=False,
    ),
]
Repositories = Annotated[
    list[str] | None,
    typer.Option(
        "--repository",
        metavar="OWNER/SLUG",
        help="Repository to register the key of a provider for (default: the repositories of the"
        " provider's applications). Repeatable.",
    ),
]
LeftOver = Annotated[
    bool, typer.Option("--left-over", help="Remove only keys that git no longer uses.")
]
KeepAtHost = Annotated[
    bool, typer.Option("--keep-at-host", help="Remove the keys only here, not at the git host.")
]


def register(application: typer.Typer) -> None:
    """Add the commands of ``key``."""
    noun = typer.Typer(
        cls=NounGroup,
        no_args_is_help=True,
        help="Manage deploy keys: SSH keys that can read a repository and nothing else.",
    )
    for command in (create, list_, rotate, remove):
        noun.command(command.__name__.rstrip("_"))(command)
    application.add_typer(noun, name="key")


def create(
    name: Name,
    of: Of = None,
    type_: Type = None,
    repository: Repositories = None,
    as_json: AsJson = False,
) -> None:
    """Make an SSH key, and register it at the git host.

    Git uses the key of an application to read the application's repository, in place of the
    provider's credentials. If these credentials cannot register keys, the command prints the
    public key. Add it at the git host, and run the command again.
    """
    with deploycore.Installation() as installation:
        keys = installation.deploy_keys
        done = keys.create(keys.owner(name, of), kind=type_, repositories=repository or ())
    again = key_command("create", name, of, repository)
    show_outcome(_outcome_as_dict(done), again, name, of, as_json=as_json)


def rotate(
    name: Name,
    of: Of = None,
    type_: Type = None,
    repository: Repositories = None,
    as_json: AsJson = False,
) -> None:
    """Replace an SSH key. Git uses the previous key until the new one can read the repository.

    If the command fails, run it again.
    """
    with deploycore.Installation() as installation:
        keys = installation.deploy_keys
        done = keys.rotate(keys.owner(name, of), kind=type_, repositories=repository or ())
    again = key_command("rotate", name, of, repository)
    show_outcome(_outcome_as_dict(done), again, name, of, as_json=as_json)


def list_(as_json: AsJson = False) -> None:
    """List SSH keys and their states.

    Keys that were replaced are listed until the git host has removed them.
    """
    with deploycore.Installation() as installation:
        found = installation.deploy_keys.listed()
    show_keys([_as_dict(each.key) | {"use": each.use} for each in found], as_json=as_json)


def remove(
    name: Name,
    of: Of = None,
    left_over: LeftOver = False,
    keep_at_host: KeepAtHost = False,
    yes: Yes = False,
) -> None:
    """Remove the SSH keys of an application or a provider.

    The keys are removed here and at the git host. If the git host does not remove a key, deploycore
    keeps it too.
    """
    with deploycore.Installation() as installation:
        keys = installation.deploy_keys
        owner = keys.owner(name, of)
        confirm_removal(name, owner.noun, left_over=left_over, keep_at_host=keep_at_host, yes=yes)
        with explaining_removal(name, of, left_over=left_over):
            remains = keys.remove(owner, left_over=left_over, at_host=not keep_at_host)
    say_removed(name, [str(each) for each in remains], left_over=left_over)


def confirm_removal(
    name: str, noun: str, *, left_over: bool, keep_at_host: bool, yes: bool
) -> None:
    """Ask at the terminal whether to remove keys.

    Args:
        name: Whose keys.
        noun: What it is: ``application`` or ``provider``.
    """
    where = "here, but not at the git host" if keep_at_host else "here and at the git host"
    which = _which(left_over=left_over)
    lines = [f"This removes the {which} of the {noun} {name} {where}."]
    if not left_over:
        lines.append("After that, git uses the other credentials of the provider.")
    confirm_at_terminal(f"Remove the {which} of {name}", lines, yes=yes)


@contextmanager
def explaining_removal(name: str, of: str | None, *, left_over: bool) -> Iterator[None]:
    """Add to an error of the git host how to remove the keys only here."""
    try:
        yield
    except DeploycoreError as error:
        if "name" not in error.details:
            # Without --left-over, the key that is in use would be removed too.
            more = ("--left-over", "--keep-at-host") if left_over else ("--keep-at-host",)
            hint = "Or remove it at the host yourself, and here:"
            command = key_command("remove", name, of, None, *more)
            error.hint = sentences(error.hint, f"{hint} {command}")
        raise


def say_removed(name: str, remains: Sequence[str], *, left_over: bool) -> None:
    """Print that keys were removed, and what a person has to remove at the git host."""
    where = "here" if remains else "here and at the git host"
    say(f"The {_which(left_over=left_over)} of {name} are removed {where}.")
    for each in remains:
        say_aside(f"Not removed; remove it yourself: {each}")


def key_command(
    verb: str, name: str, of: str | None, repositories: Sequence[str] | None = None, *more: str
) -> str:
    """Return the command for the same key, for hints."""
    which = ["--of", of] if of else []
    where = [part for each in repositories or () for part in ("--repository", each)]
    return shlex.join(["deploycore", "key", verb, name, *which, *where, *more])


def show_keys(keys: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print keys, each as ``--json`` prints it."""
    if as_json:
        show_json_array(keys)
        return
    show_table(
        [
            Column("NAME"),
            Column("OF", drop=3),
            Column("STATE"),
            Column("FINGERPRINT", drop=1),
            Column("REGISTERED FOR", drop=2),
            Column("CREATED", drop=4),
        ],
        (
            [
                each["name"],
                each["of"],
                each["use"],
                each["fingerprint"],
                ", ".join(each["registered"]) or "(by hand)",
                for_people(datetime.fromisoformat(each["created_at"])),
            ]
            for each in keys
        ),
        empty="No deploy keys yet. Make one: deploycore key create --help",
    )


def show_outcome(
    done: Mapping[str, Any], again: str, name: str, of: str | None, *, as_json: bool
) -> None:
    """Print what became of a new key.

    Args:
        done: The outcome as the REST API describes it.
        again: The command that continues after a person has added the key.
        name: Whose key it is.
        of: What that is, if it was given.
    """
    key = done["key"]
    if as_json:
        remains = [each["text"] for each in done["remains"]]
        show_json({**key, "by_hand": done["by_hand"], "pages": done["pages"], "remains": remains})
        return
    if key["state"] != "live":
        say(f"{done['by_hand']}\n\nAdd this public key at the git host, with read access only:\n")
        say(f"  {key['public_key']}\n")
        for page in done["pages"]:
            say(f"  {page}")
        say(f"\nThen run: {again}")
        return
    say(f"The key {key['fingerprint']} of {name} is in use.")
    for repository in key["registered"]:
        say(f"  Registered for {repository} with read access.")
    for each in done["remains"]:
        why = f" {each['error']}" if each["error"] else ""
        say_aside(f"Not removed: {each['text']}.{why}")
    if done["remains"]:
        say_aside(f"To remove it later: {key_command('remove', name, of, None, '--left-over')}")


def _which(*, left_over: bool) -> str:
    return "replaced SSH keys" if left_over else "SSH keys"


def _outcome_as_dict(done: KeyOutcome) -> dict[str, Any]:
    return {
        "key": _as_dict(done.key),
        "by_hand": done.by_hand or None,
        "pages": list(done.pages),
        "remains": [
            {"text": str(each), "error": str(each.error) if each.error else None}
            for each in done.remains
        ],
    }


def _as_dict(record: DeployKeyRecord) -> dict[str, Any]:
    from deploycore.ssh.making import fingerprint_of

    return {
        "name": record.owner,
        "of": "provider" if record.application is None else "application",
        "state": record.state,
        "fingerprint": fingerprint_of(record.public_key),
        "public_key": record.public_key,
        "provider": record.provider,
        "repository": record.repository,
        "registered": dict(record.registered),
        "created_at": for_machines(record.created_at),
    }
