"""What the parameters of each command take: made by ``python docs/completion.py``."""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for true; importing typing would cost 10 ms
if TYPE_CHECKING:
    Source = str | tuple[str, ...] | None
    """What a value may be: the name of a source in ``completion``, or one of these words; empty
    if anything, such as a file; ``None`` for an option without a value."""

__all__ = ["PARAMETERS"]

PARAMETERS: dict[str, tuple[tuple[str, ...], dict[str, Source]]] = {
    "repos": (
        ("providers",),
        {"--owner": "", "--filter": "", "--limit": "", "--json": None, "--help": None},
    ),
    "branches": (
        ("providers", "repositories"),
        {"--filter": "", "--limit": "", "--json": None, "--help": None},
    ),
    "clone": (
        ("providers", "repositories", ""),
        {
            "--branch": "branches",
            "-b": "branches",
            "--submodules": None,
            "--links": ("refuse", "write-as-files", "write-as-links"),
            "--limit": "",
            "--timeout": "",
            "--json": None,
            "--help": None,
        },
    ),
    "apply": (("",), {"--dry-run": None, "--offline": None, "--json": None, "--help": None}),
    "export": (("applications", "..."), {"--help": None}),
    "deploy": (
        ("applications", "..."),
        {
            "--all": None,
            "--parallel": "",
            "--force": None,
            "--hard-link": None,
            "--no-wait": None,
            "--json": None,
            "--help": None,
        },
    ),
    "rollback": (
        ("applications",),
        {"--to": "releases", "--no-wait": None, "--json": None, "--help": None},
    ),
    "releases": (("applications",), {"--json": None, "--help": None}),
    "deployments": (("applications",), {"--limit": "", "--json": None, "--help": None}),
    "show": (("deployments",), {"--json": None, "--help": None}),
    "logs": (("deployments",), {"--follow": None, "-f": None, "--json": None, "--help": None}),
    "cancel": (("unfinished",), {"--json": None, "--help": None}),
    "recover": ((), {"--json": None, "--help": None}),
    "worker": (
        (),
        {
            "--threads": "",
            "--once": None,
            "--drain": "",
            "--lease": "",
            "--per-provider": "",
            "--json": None,
            "--help": None,
        },
    ),
    "serve": (
        (),
        {
            "--host": "",
            "--port": "",
            "--workers": "",
            "--behind-proxy": None,
            "--metrics-open": None,
            "--body-limit": "",
            "--replay-window": "",
            "--drain": "",
            "--lease": "",
            "--per-provider": "",
            "--help": None,
        },
    ),
    "plugins": ((), {"--json": None, "--help": None}),
    "doctor": ((), {"--offline": None, "--json": None, "--help": None}),
    "sandbox": (
        (),
        {"--kind": "sandboxes", "--port": "", "--seed": "", "--json": None, "--help": None},
    ),
    "demo": ((), {"--kind": "sandboxes", "--keep": "", "--help": None}),
    "provider add": (
        ("",),
        {"--kind": "kinds", "--no-verify": None, "--json": None, "--help": None, "-h": None},
    ),
    "provider test": (("providers",), {"--json": None, "--help": None}),
    "provider list": ((), {"--json": None, "--help": None}),
    "provider show": (("providers",), {"--json": None, "--help": None}),
    "provider remove": (("providers",), {"--yes": None, "-y": None, "--help": None}),
    "app create": (
        ("",),
        {
            "--provider": "providers",
            "--repository": "repositories",
            "--ref": "branches",
            "--branch": "branches",
            "--target": "",
            "--submodules": None,
            "--lfs": None,
            "--hard-link": None,
            "--shared": "",
            "--env": "",
            "--build": "",
            "--before-activate": "",
            "--after-activate": "",
            "--health-url": "",
            "--keep": "",
            "--watch": "",
            "--offline": None,
            "--json": None,
            "--help": None,
        },
    ),
    "app list": ((), {"--json": None, "--help": None}),
    "app show": (("applications",), {"--json": None, "--help": None}),
    "app secret": (
        ("applications", ""),
        {"--stdin": None, "--remove": None, "--yes": None, "-y": None, "--help": None},
    ),
    "app accept-repository": (("applications",), {"--help": None}),
    "app remove": (
        ("applications",),
        {
            "--purge": None,
            "--with-previews": None,
            "--keep-webhook": None,
            "--force": None,
            "--yes": None,
            "-y": None,
            "--json": None,
            "--help": None,
        },
    ),
    "webhook show": (("webhooks",), {"--reveal-secret": None, "--json": None, "--help": None}),
    "webhook register": (
        ("applications",),
        {"--url": "", "--by-hand": None, "--reveal-secret": None, "--json": None, "--help": None},
    ),
    "webhook rotate": (
        ("webhooks",),
        {"--grace": "", "--url": "", "--reveal-secret": None, "--json": None, "--help": None},
    ),
    "webhook remove": (
        ("webhooks",),
        {"--keep-at-host": None, "--yes": None, "-y": None, "--help": None},
    ),
    "token add": (
        ("",),
        {"--role": ("read", "deploy", "admin"), "--expires": "", "--json": None, "--help": None},
    ),
    "token list": ((), {"--json": None, "--help": None}),
    "token remove": (("tokens",), {"--yes": None, "-y": None, "--help": None}),
    "plugin new": (("",), {"--dir": "", "--json": None, "--help": None}),
    "plugin check": (("kinds",), {"--only": "", "--timeout": "", "--json": None, "--help": None}),
    "cache list": ((), {"--json": None, "--help": None}),
    "cache remove": (("",), {"--json": None, "--help": None}),
    "cache prune": ((), {"--to": "", "--json": None, "--help": None}),
}
