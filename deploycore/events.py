"""What git hosts tell by webhook, as typed events, and what is told back to them.

A provider's plugin makes events of its host's deliveries; nothing here knows a host. Events are
hints: what is deployed is what the host says when the deployment's turn has come.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import parse_qs

from pydantic import AfterValidator, AwareDatetime, Field, SecretStr, ValidationError

from deploycore import deployment_records
from deploycore.errors import UnexpectedAnswer
from deploycore.models import CommitHash, HostId, Model, NonEmpty, RepositoryId

__all__ = [
    "FINAL_STATES",
    "CommitState",
    "CommitStatus",
    "Delivered",
    "DeployKey",
    "DeploymentCause",
    "DeploymentKind",
    "DeploymentRecord",
    "DeploymentState",
    "DeploymentStatus",
    "ProviderCall",
    "PullRequestEvent",
    "PushEvent",
    "RefChange",
    "RegisteredKey",
    "Webhook",
    "WebhookDelivery",
    "WebhookEvent",
    "as_documented",
    "delivered_json",
    "hmac_sha256_matches",
    "signature_header_matches",
    "unexpected_delivery",
]

_FORM = "application/x-www-form-urlencoded"
_FIELDS_MOST = 10

ACTOR_LENGTH = 200
"""Characters of a person's name that are kept."""

LARGEST_NUMBER = 2**63 - 1
"""The largest number that the databases can hold."""


def _printable(text: str) -> str:
    return "".join(each for each in text if each.isprintable())[:ACTOR_LENGTH]


def _possible_ref(name: str) -> str:
    # https://git-scm.com/docs/git-check-ref-format: no control characters. A lone surrogate, which
    # JSON can hold, is no character at all, and no database stores it.
    if any(each < " " or each == "\x7f" or "\ud800" <= each <= "\udfff" for each in name):
        raise ValueError("git allows no control characters in the name of a branch or a tag")
    return name


def _without_comment(key: str) -> str:
    return " ".join(key.split()[:2])


Actor = Annotated[str, AfterValidator(_printable)]
"""A person's name as it can be stored and shown: printable characters, at most 200."""

RefName = Annotated[NonEmpty, AfterValidator(_possible_ref)]
"""The name of a branch or tag, without control characters."""


@dataclass(frozen=True)
class WebhookDelivery:
    """One request that a git host sent to a webhook's address.

    Attributes:
        headers: With names in lower case.
        body: As it was sent, byte for byte: what signatures are made of.
    """

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class RefChange(Model):
    """A branch or tag that was made, moved or deleted by a push.

    Attributes:
        name: Without ``refs/heads/`` or ``refs/tags/``.
        before: Where it pointed; ``None`` if it was made, and where the host does not tell what
            it deleted.
        after: Where it points now; ``None`` if it was deleted.
    """

    kind: Literal["branch", "tag"]
    name: NonEmpty
    before: CommitHash | None = None
    after: CommitHash | None = None

    @classmethod
    def of_ref(
        cls, ref: str, before: str, after: str, *, tagged: str | None = None
    ) -> RefChange | None:
        """Read a change as git writes it.

        Args:
            ref: The full name, such as ``refs/heads/main``.
            before, after: Hashes; all zeros for no commit.
            tagged: The commit of an annotated tag, which itself points to a tag object.

        Returns:
            ``None`` if the ref is neither a branch nor a tag, or did not exist before or after.
        """
        kinds: dict[str, Literal["branch", "tag"]] = {"refs/heads/": "branch", "refs/tags/": "tag"}
        kind = next((kinds[prefix] for prefix in kinds if ref.startswith(prefix)), None)
        old, new = (hash if hash.strip("0") else None for hash in (before, after))
        if kind is None or (old is None and new is None):
            return None
        if kind == "tag" and new is not None:
            new = tagged or new
        return cls(kind=kind, name=ref.split("/", 2)[2], before=old, after=new)


class PushEvent(Model):
    """Refs of a repository have changed.

    Attributes:
        truncated: Whether there were more changes than the host tells of.
        actor: Who pushed, as far as the host tells; for people.
        repository_host_id: The host's identifier of the repository, as
            ``Repository.host_id``; ``None`` if it is not told.
    """

    repository: RepositoryId
    changes: tuple[RefChange, ...]
    truncated: bool = False
    actor: Actor = ""
    repository_host_id: HostId | None = None


class PullRequestEvent(Model):
    """A pull request was opened, has new commits, or has come to its end.

    Attributes:
        number: The host's number for it within the repository; at most 2**63 - 1.
        source: The repository that the commits come from; another one for a fork, ``None`` where
            that is gone.
        source_branch: Its branch there.
        target_branch: Where it is to be merged into.
        commit: The newest commit's hash, or its beginning where the host tells no more.
        repository_host_id: As that of :class:`PushEvent`.
    """

    repository: RepositoryId
    number: Annotated[int, Field(ge=1, le=LARGEST_NUMBER)]
    action: Literal["opened", "updated", "merged", "declined"]
    title: str = ""
    source: RepositoryId | None = None
    source_branch: RefName
    target_branch: RefName
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{7,64}$")] | None = None
    actor: Actor = ""
    repository_host_id: HostId | None = None

    @property
    def is_from_fork(self) -> bool:
        """Whether its commits come from another repository than it is for."""
        return self.source != self.repository


WebhookEvent = PushEvent | PullRequestEvent
"""What webhooks tell of."""


class Delivered(Model):
    """What a delivery turned out to say.

    Attributes:
        delivery: The host's identifier of this delivery, the same when it is sent again; empty
            where there is none.
        sent_at: When the host says that it was sent, timezone-aware; ``None`` if it doesn't.
        events: Empty for a delivery that tells nothing of interest, such as a ping.
    """

    delivery: str = ""
    sent_at: AwareDatetime | None = None
    events: tuple[WebhookEvent, ...] = ()


class Webhook(Model):
    """A webhook as a host has it.

    Attributes:
        id: The host's identifier.
        url: Where it sends to.
        active: Whether it sends at all.
    """

    id: NonEmpty
    url: NonEmpty
    active: bool = True


class DeployKey(Model):
    """A key that may read one repository over SSH, to be registered at the host.

    Attributes:
        public_key: Its type and its data in base64, as in ``authorized_keys``, without a comment.
        label: What people see in the host's list.
    """

    public_key: Annotated[str, Field(pattern=r"^(ssh-ed25519|ssh-rsa) [A-Za-z0-9+/]+={0,2}$")]
    label: NonEmpty


class RegisteredKey(Model):
    """A deploy key that a repository has at the host.

    Attributes:
        id: The host's identifier.
        public_key: As that of :class:`DeployKey`, of any type; a comment is dropped.
        label: What people see in the host's list.
        read_only: Whether it may only read.
    """

    id: NonEmpty
    public_key: Annotated[NonEmpty, AfterValidator(_without_comment)]
    label: str = ""
    read_only: bool = True

    def is_of(self, key: DeployKey) -> bool:
        """Whether it is this key."""
        return self.public_key == key.public_key


CommitState = Literal["in_progress", "successful", "failed", "stopped"]
"""How far a commit's deployment is."""


class CommitStatus(Model):
    """What is told a host about a commit, for its pages.

    Attributes:
        key: What tells statuses of one commit apart; the same key again replaces the former.
        name: For people.
        description: One line.
        url: Where there is more to read; empty where there is no such place.
        ref: The branch or tag that was deployed; empty where it was a hash.
    """

    commit: CommitHash
    key: Annotated[str, Field(min_length=1, max_length=40)]
    state: CommitState
    name: NonEmpty
    description: str = ""
    url: str = ""
    ref: str = ""


class DeploymentStatus(Model):
    """What is told a host about a deployment to one of its environments.

    Attributes:
        deployment: deploycore's number, the same while it goes on. It is the host's one of the
            newest of this environment and commit, where there is one that has not ended.
        environment: Where it is deployed to: the application's name.
        description: One line.
        url: Where there is more to read; empty where there is no such place.
        ref: The branch or tag that was deployed; empty where it was a hash.
    """

    deployment: Annotated[int, Field(ge=1)]
    commit: CommitHash
    environment: NonEmpty
    state: CommitState
    description: str = ""
    url: str = ""
    ref: str = ""


def hmac_sha256_matches(body: bytes, signature: str, secrets: Iterable[SecretStr]) -> bool:
    """Whether a body was signed with one of some secrets, by HMAC-SHA256 (RFC 2104).

    Takes the same time whatever is wrong, and whichever secret is right: all are tried.

    Args:
        signature: Hexadecimal, without a prefix such as ``sha256=``.
    """
    given = signature.strip().lower().encode("utf-8", "replace")
    matches = False
    for secret in secrets:
        key = secret.get_secret_value().encode()
        wanted = hmac.new(key, body, hashlib.sha256).hexdigest().encode()
        # By & and not by `and`, which looks at the right side only where the left one is true.
        matches |= hmac.compare_digest(wanted, given) & bool(key)
    return matches


def signature_header_matches(
    delivery: WebhookDelivery, header: str, secrets: Iterable[SecretStr]
) -> bool:
    """Whether a header is ``sha256=`` and the HMAC-SHA256 of the delivery's body.

    Other algorithms are refused. See :func:`hmac_sha256_matches`.

    Args:
        header: The name of the header, in lower case.
    """
    algorithm, _, signature = delivery.headers.get(header, "").partition("=")
    return hmac_sha256_matches(delivery.body, signature, secrets) & (algorithm == "sha256")


def delivered_json(delivery: WebhookDelivery, host: str, *, form_field: str | None = None) -> bytes:
    """The JSON of a delivery, as it was sent, by the delivery's content type.

    A delivery without a content type is taken for JSON.

    Args:
        host: Its name, for people.
        form_field: The field that holds the JSON where the host can send it in a form; ``None``
            for a host that sends JSON alone.

    Raises:
        UnexpectedAnswer: It is neither JSON nor such a form.
    """
    given = delivery.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not given or given == "application/json" or given.endswith("+json"):
        return delivery.body
    if given == _FORM and form_field is not None:
        return _field_of_form(delivery.body, host, form_field)
    kind = "a form" if given == _FORM else f"of the content type {_printable(given)[:60]}"
    raise unexpected_delivery(
        host,
        f"it is {kind}, but must be JSON",
        hint="Set the webhook's content type to application/json at the git host.",
    )


def _field_of_form(body: bytes, host: str, name: str) -> bytes:
    """The content of a field that a form has exactly once."""
    try:
        text = body.decode("ascii", "replace")
        found = parse_qs(text, errors="strict", max_num_fields=_FIELDS_MOST).get(name, [])
        content = found[0].encode() if len(found) == 1 else None
    except ValueError:  # for too many fields, and for bytes that are no text
        raise unexpected_delivery(host, "it is a form without valid JSON") from None
    if content is not None:
        return content
    raise unexpected_delivery(
        host,
        f"it is a form that does not have exactly one field {name}",
        hint="Set the webhook's content type to application/json at the git host.",
    )


@contextmanager
def as_documented(host: str) -> Iterator[None]:
    """What a delivery is read within: JSON that is none, and what makes no event, are errors of
    the delivery and not of the plugin.

    Args:
        host: Its name, for people.

    Raises:
        UnexpectedAnswer: It is not what the host documents.
    """
    try:
        yield
        return
    except ValidationError as error:
        fields = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
        wrong = f"these fields are wrong: {', '.join(fields)}"
    except (ValueError, RecursionError):  # also for numbers of more digits than are read
        wrong = "it is not valid JSON"
    raise unexpected_delivery(host, wrong)


def unexpected_delivery(
    host: str, what: str, *, hint: str = "Upgrade the plugin. Polling still works."
) -> UnexpectedAnswer:
    """The error of a delivery that is not as the host documents it.

    Args:
        host: Its name, for people.
        what: What is wrong, as half a sentence.
        hint: What to do about it.
    """
    return UnexpectedAnswer(
        f"The delivery does not match {host}'s documentation of webhooks: {what}.",
        hint=hint,
    )


DeploymentCause = deployment_records.DeploymentCause
"""Why a deployment was requested: by a webhook's push, by polling, by the REST API, by the command
line, for a pull request, or to roll back. Empty for a request by a Python program that states no
cause, and for a deployment that is recovered after a crash."""

DeploymentKind = deployment_records.DeploymentKind
"""Whether a deployment deploys a commit or rolls back to a release."""

DeploymentState = deployment_records.DeploymentState
"""``rolled_back``: it was live, did not work, and the former release is live again.
``superseded``: a newer one was asked for while it waited.
``skipped``: there was nothing to deploy, since nothing that matters has changed."""

FINAL_STATES = deployment_records.FINAL_STATES
"""The states in which a deployment has ended."""

DeploymentRecord = deployment_records.DeploymentRecord


@dataclass(frozen=True)
class ProviderCall:
    """One call of a provider's hook, as observers see it.

    Attributes:
        provider: The user's name of the configured provider.
        kind: The plugin's kind.
        hook: The hook's name.
        arguments: The hook's arguments by name, but for those that are secrets.
    """

    provider: str
    kind: str
    hook: str
    arguments: Mapping[str, object]
