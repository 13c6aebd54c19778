"""``deploycore key``: make, list, rotate and remove the SSH keys of applications and providers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
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

__all__ = ["register"]

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
    _show(done, _command("create", name, of, repository), name, of, as_json=as_json)


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
    _show(done, _command("rotate", name, of, repository), name, of, as_json=as_json)


def list_(as_json: AsJson = False) -> None:
    """List SSH keys and their states.

    Keys that were replaced are listed until the git host has removed them.
    """
    with deploycore.Installation() as installation:
        found = installation.deploy_keys.listed()
    if as_json:
        show_json_array(_as_dict(each.key) | {"use": each.use} for each in found)
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
                record.owner,
                _noun(record),
                use,
                _fingerprint(record),
                ", ".join(record.registered) or "(by hand)",
                for_people(record.created_at),
            ]
            for record, use in ((each.key, each.use) for each in found)
        ),
        empty="No deploy keys yet. Make one: deploycore key create --help",
    )


def remove(
    name: Name,
    of: Of = None,
    left_over: Annotated[
        bool, typer.Option("--left-over", help="Remove only keys that git no longer uses.")
    ] = False,
    keep_at_host: Annotated[
        bool, typer.Option("--keep-at-host", help="Remove the keys only here, not at the git host.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Remove the SSH keys of an application or a provider.

    The keys are removed here and at the git host. If the git host does not remove a key, deploycore
    keeps it too.
    """
    with deploycore.Installation() as installation:
        keys = installation.deploy_keys
        owner = keys.owner(name, of)
        where = "here, but not at the git host" if keep_at_host else "here and at the git host"
        which = "replaced SSH keys" if left_over else "SSH keys"
        lines = [f"This removes the {which} of the {owner.noun} {name} {where}."]
        if not left_over:
            lines.append("After that, git uses the other credentials of the provider.")
        confirm_at_terminal(f"Remove the {which} of {name}", lines, yes=yes)
        try:
            remains = keys.remove(owner, left_over=left_over, at_host=not keep_at_host)
        except DeploycoreError as error:
            if "name" not in error.details:
                # Without --left-over, the key that is in use would be removed too.
                more = ("--left-over", "--keep-at-host") if left_over else ("--keep-at-host",)
                hint = "Or remove it at the host yourself, and here:"
                command = _command("remove", name, of, None, *more)
                error.hint = sentences(error.hint, f"{hint} {command}")
            raise
    say(f"The {which} of {name} are removed here{'' if remains else ' and at the git host'}.")
    for each in remains:
        say_aside(f"Not removed; remove it yourself: {each}")


def _command(
    verb: str, name: str, of: str | None, repositories: Sequence[str] | None = None, *more: str
) -> str:
    """The command for the same key, for hints."""
    which = ["--of", of] if of else []
    where = [part for each in repositories or () for part in ("--repository", each)]
    return shlex.join(["deploycore", "key", verb, name, *which, *where, *more])


def _show(done: KeyOutcome, again: str, name: str, of: str | None, *, as_json: bool) -> None:
    if as_json:
        remains = [str(each) for each in done.remains]
        more = {"by_hand": done.by_hand or None, "pages": list(done.pages), "remains": remains}
        show_json(_as_dict(done.key) | more)
        return
    if not done.is_live:
        say(f"{done.by_hand}\n\nAdd this public key at the git host, with read access only:\n")
        say(f"  {done.key.public_key}\n")
        for page in done.pages:
            say(f"  {page}")
        say(f"\nThen run: {again}")
        return
    say(f"The key {_fingerprint(done.key)} of {name} is in use.")
    for repository in done.key.registered:
        say(f"  Registered for {repository} with read access.")
    for each in done.remains:
        why = f" {each.error}" if each.error else ""
        say_aside(f"Not removed: {each}.{why}")
    if done.remains:
        say_aside(f"To remove it later: {_command('remove', name, of, None, '--left-over')}")


def _as_dict(record: DeployKeyRecord) -> dict[str, Any]:
    return {
        "name": record.owner,
        "of": _noun(record),
        "state": record.state,
        "fingerprint": _fingerprint(record),
        "public_key": record.public_key,
        "provider": record.provider,
        "repository": record.repository,
        "registered": dict(record.registered),
        "created_at": for_machines(record.created_at),
    }


def _noun(record: DeployKeyRecord) -> str:
    return "provider" if record.application is None else "application"


def _fingerprint(record: DeployKeyRecord) -> str:
    from deploycore.ssh.making import fingerprint_of

    return fingerprint_of(record.public_key)
