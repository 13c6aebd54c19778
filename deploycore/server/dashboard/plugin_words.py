"""What plugins do, in words: their hooks have names for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["SECTIONS", "abilities_of", "in_sections"]

SECTIONS: Mapping[str, tuple[str, str]] = {
    "provider": ("Git hosts", "Each of these can be used to add a provider."),
    "observer": (
        "Observers",
        "They receive each deployment, for example to send messages. Their settings are in"
        " `settings.yaml` in the data directory.",
    ),
    "sandbox": (
        "Sandboxes",
        "Imitations of git hosts to try deploycore with: `deploycore sandbox KIND`.",
    ),
}
"""The title and the explanation of each type of plugins, in their order on the page."""

_ABILITIES: Mapping[str, str] = {
    "register_webhook": "sets up webhooks",
    "verify_webhook": "receives pushes",
    "list_pull_requests": "finds pull requests for previews",
    "report_status": "shows outcomes at commits",
    "report_deployment": "shows deployments at the host",
    "ssh_clone_url": "clones over SSH",
    "add_deploy_key": "creates deploy keys",
    "deploy_finished": "receives the results of deployments",
    "credential_expiring": "warns of credentials that expire",
    "veto_deploy": "can stop deployments",
}
"""What a hook lets deploycore do; the others are parts of these, or every plugin has them."""


def abilities_of(hooks: Sequence[str]) -> str:
    """Return what a plugin with these hooks can do; empty if it has none that people notice."""
    text = ", ".join(text for hook, text in _ABILITIES.items() if hook in hooks)
    return text[:1].upper() + text[1:]


def in_sections(plugins: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the installed plugins by type. In each section, those with a problem come first."""
    found = []
    names = {each["kind"]: each["display_name"] for each in plugins if each["type"] == "provider"}
    for type_, (title, text) in SECTIONS.items():
        some = [dict(each) for each in plugins if each["type"] == type_]
        if some:
            if type_ == "sandbox":  # a sandbox is named as what it imitates
                for each in some:
                    each["display_name"] = names.get(each["kind"], each["display_name"])
            some.sort(key=lambda each: each["problem"] is None)
            found.append({"type": type_, "title": title, "text": text, "plugins": some})
    return found
