"""Git over smart HTTP on a loopback host. The host decides who may fetch and push.

Source: https://git-scm.com/docs/http-protocol
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from deploycore.testing.messages import Answer, Refusal, Request, text_answer
from deploycore.testing.repositories import GitRepositories, Served, Service

__all__ = ["Permit", "SmartHttp", "is_git_request", "text_refusal"]

SERVICES = ("git-upload-pack", "git-receive-pack")

Permit = Callable[[Request, str, Service], Served]
"""A function that decides about a request. Its arguments are the request, the repository's name in
the address (without ``.git``), and ``git-upload-pack`` to fetch or ``git-receive-pack`` to push. It
returns the repository, or raises :class:`~deploycore.testing.messages.Refusal`."""


@dataclass(frozen=True)
class SmartHttp:
    """Answers requests of git clients.

    Attributes:
        repositories: The contents of the repositories.
        permit: The host's function that decides who may do what.
    """

    repositories: GitRepositories
    permit: Permit

    def answer(self, request: Request) -> Answer:
        """Return the response to a request, which may be an error response."""
        try:
            return self._route(request)
        except Refusal as refusal:
            return refusal.answer

    def _route(self, request: Request) -> Answer:
        match request.method, *request.segments:
            case "GET", *name, "info", "refs":
                service = request.query.get("service", "")
                repository = self._permitted(request, name, service)
                return self.repositories.advertise(repository, service)
            case "POST", *name, "git-upload-pack" | "git-receive-pack" as service:
                repository = self._permitted(request, name, service)
                return self.repositories.exchange(repository, service, request.body)
            case _:
                raise text_refusal(404, "Not found")

    def _permitted(self, request: Request, name: list[str], service: Service) -> Served:
        if service not in SERVICES:
            raise text_refusal(403, "Please upgrade your git client")
        # Real servers split the path before they decode it, so %2F is part of a name and not a
        # separator.
        if any("/" in part for part in name):
            raise text_refusal(404, "Not found: %2F does not separate the segments of a path")
        return self.permit(request, "/".join(name).removesuffix(".git"), service)


def is_git_request(request: Request) -> bool:
    """Whether a request comes from a git client, by its address."""
    return request.path.endswith(("/info/refs", *(f"/{service}" for service in SERVICES)))


def text_refusal(status: int, message: str) -> Refusal:
    """Return an error response in plain text, like those of git servers."""
    return Refusal(text_answer(message + "\n", status))
