"""The REST API's webhooks of a repository.

It sends only JSON. A webhook for forms, which are GitHub's default, is rejected.

Source: https://docs.github.com/en/rest/repos/webhooks
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from pydantic import SecretStr

from deploycore.testing.messages import Answer, Request, json_answer
from deploycore.testing.sandbox import Repository
from deploycore.testing.webhooks import Hook, Webhooks
from deploycore_github.sandbox.validation import body_of, invalid

__all__ = ["HooksApi"]

KNOWN_EVENTS = frozenset(
    {"*", "create", "delete", "deployment", "deployment_status", "fork", "issues"}
    | {"pull_request", "pull_request_review", "push", "release", "status", "workflow_run"}
)


class HooksApi:
    """Handles the requests below ``/repos/{owner}/{repo}/hooks``.

    Args:
        ping: Sends the event ``ping`` to a new webhook.

    Attributes:
        most: The maximum number of webhooks of a repository; ``None`` for no limit. GitHub allows
            20, but deploycore's kit adds more.
    """

    def __init__(self, webhooks: Webhooks, ping: Callable[[Hook, Mapping[str, Any]], None]) -> None:
        self.most: int | None = None
        self._webhooks = webhooks
        self._ping = ping
        self._numbers = count(109_948_940)

    def add(self, request: Request, repository: Repository) -> Answer:
        """``POST``."""
        known = self._webhooks.of(repository.full_name)
        wanted = Hook(id=str(next(self._numbers)), repository=repository.full_name, url="")
        wanted = _changed(wanted, {"events": ["push"], **body_of(request)})
        if any((hook.url, hook.events) == (wanted.url, wanted.events) for hook in known):
            raise invalid("Hook", "Hook already exists on this repository")
        if self.most is not None and len(known) >= self.most:
            raise invalid("Hook", f'The "push" event cannot have more than {self.most} hooks')
        hook = self._webhooks.put(wanted)
        self._ping(hook, shape(hook, request.origin))
        return json_answer(shape(hook, request.origin), 201)

    def change(self, request: Request, hook: Hook) -> Answer:
        """``PATCH``."""
        changed = self._webhooks.put(_changed(hook, body_of(request)))
        return json_answer(shape(changed, request.origin))

    def remove(self, hook: Hook) -> Answer:
        """``DELETE``."""
        self._webhooks.remove(hook.id)
        return Answer(204, {})

    def find(self, repository: Repository, number: str) -> Hook | None:
        """One of a repository's webhooks."""
        hooks = self._webhooks.of(repository.full_name)
        return next((hook for hook in hooks if hook.id == number), None)


def _changed(hook: Hook, body: Mapping[str, Any]) -> Hook:
    """Return the webhook with the fields of the request. A configuration replaces the previous one
    completely."""
    if body.get("name", "web") != "web":
        raise invalid("Hook", "name must be web", field="name")
    events = body.get("events", list(hook.events))
    if not isinstance(events, list) or not events or not KNOWN_EVENTS.issuperset(map(str, events)):
        raise invalid("Hook", "These events are not available for this hook", field="events")
    changed = replace(
        hook, events=tuple(sorted(set(events))), active=bool(body.get("active", hook.active))
    )
    return _configured(changed, body.get("config")) if "config" in body or not hook.url else changed


def _configured(hook: Hook, config: Any) -> Hook:
    config = config if isinstance(config, dict) else {}
    url, secret = config.get("url"), config.get("secret")
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
        raise invalid("Hook", "url is missing a scheme", field="url")
    if config.get("content_type") != "json":
        raise invalid("Hook", "this sandbox sends JSON alone", field="content_type")
    if str(config.get("insecure_ssl", "0")) not in ("0", "1"):
        raise invalid("Hook", "insecure_ssl must be 0 or 1", field="insecure_ssl")
    return replace(hook, url=url, secret=SecretStr(str(secret)) if secret else None)


def shape(hook: Hook, origin: str) -> dict[str, Any]:
    """Return a webhook as GitHub sends it, without its secret."""
    secret = {} if hook.secret is None else {"secret": "********"}
    here = f"{origin}/api/v3/repos/{hook.repository}/hooks/{hook.id}"
    return {
        "type": "Repository",
        "id": int(hook.id),
        "name": "web",
        "active": hook.active,
        "events": list(hook.events),
        "config": {"content_type": "json", "insecure_ssl": "0", "url": hook.url, **secret},
        "url": here,
        "ping_url": f"{here}/pings",
        "deliveries_url": f"{here}/deliveries",
        "last_response": {"code": None, "status": "unused", "message": None},
    }
