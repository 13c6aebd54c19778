"""Webhook events that plugins parse, statuses that plugins report, and records for observers.

A plugin converts its host's deliveries to these events. An event only requests a deployment: the
deployment asks the git server which commit to deploy when it starts.
"""

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
"""The maximum number of characters of an actor's name. The rest is cut off."""

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
"""The name of a person or program, reduced to at most 200 printable characters."""

RefName = Annotated[NonEmpty, AfterValidator(_possible_ref)]
"""The name of a branch or tag, without control characters."""


@dataclass(frozen=True)
class WebhookDelivery:
    """One request that a git host sent to a webhook's address.

    Attributes:
        headers: The headers, with names in lower case.
        body: The body, byte for byte. Signatures are computed from it.
    """

    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class RefChange(Model):
    """A branch or tag that a push created, moved or deleted.

    Attributes:
        kind: ``branch`` or ``tag``.
        name: The name, without ``refs/heads/`` or ``refs/tags/``.
        before: The previous commit; ``None`` if the ref was created, or if the host does not
            report the commit of a deleted ref.
        after: The new commit; ``None`` if the ref was deleted.
    """

    kind: Literal["branch", "tag"]
    name: NonEmpty
    before: CommitHash | None = None
    after: CommitHash | None = None

    @classmethod
    def of_ref(
        cls, ref: str, before: str, after: str, *, tagged: str | None = None
    ) -> "RefChange | None":
        """Create a change from a ref and two hashes, in the form that git uses.

        Args:
            ref: The full name, such as ``refs/heads/main``.
            before: The previous hash; all zeros if the ref did not exist.
            after: The new hash; all zeros if the ref was deleted.
            tagged: The commit that an annotated tag points to. ``after`` is then the hash of the
                tag object.

        Returns:
            The change; ``None`` if the ref is not a branch or tag, or if both hashes are zeros.
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
        repository: The repository, by its name in the delivery.
        changes: The changed branches and tags.
        truncated: Whether there were more changes than the delivery contains.
        actor: The name of the account that pushed, to show to people; may be empty.
        repository_host_id: The host's identifier of the repository, as in
            ``Repository.host_id``; ``None`` if the delivery does not contain it.
        unresolved: Full names of changed branches and tags, such as ``refs/heads/main``, whose new
            commits the delivery does not contain. deploycore asks the host for them.
    """

    repository: RepositoryId
    changes: tuple[RefChange, ...]
    truncated: bool = False
    actor: Actor = ""
    repository_host_id: HostId | None = None
    unresolved: tuple[RefName, ...] = ()


class PullRequestEvent(Model):
    """A pull request was opened, updated, merged or declined.

    Attributes:
        repository: The repository that the pull request is for.
        number: The host's number of the pull request in the repository; at most 2**63 - 1.
        action: What happened. ``declined`` means that it was closed without a merge.
        title: The title.
        source: The repository that the commits come from. For a fork, it is another repository.
            ``None`` if the fork was deleted.
        source_branch: The branch in that repository.
        target_branch: The branch to merge into.
        commit: The hash of the newest commit, or only its first digits if the host reports no
            more.
        actor: The name of the account that caused the event, to show to people; may be empty.
        repository_host_id: As in :class:`PushEvent`.
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
        """Whether the commits come from another repository, or from an unknown one."""
        return self.source != self.repository


WebhookEvent = PushEvent | PullRequestEvent
"""An event of a webhook delivery."""


class Delivered(Model):
    """The content of a delivery: what ``parse_webhook`` returns.

    Attributes:
        delivery: The host's identifier of this delivery, which stays the same if the host sends
            it again; empty if the host has none.
        sent_at: When the host sent it, with a time zone; ``None`` if the delivery does not say.
        events: The events; empty if deploycore does not use this kind of delivery, such as a
            ping.
    """

    delivery: str = ""
    sent_at: AwareDatetime | None = None
    events: tuple[WebhookEvent, ...] = ()


class Webhook(Model):
    """A webhook at a git host.

    Attributes:
        id: The host's identifier of the webhook.
        url: The address that it sends deliveries to.
        active: Whether it is turned on.
    """

    id: NonEmpty
    url: NonEmpty
    active: bool = True


class DeployKey(Model):
    """A key to register at the host. It may read one repository over SSH.

    Attributes:
        public_key: The key's type and its data in base64, as in ``authorized_keys``, without a
            comment.
        label: The name of the key in the host's list, for people.
    """

    public_key: Annotated[str, Field(pattern=r"^(ssh-ed25519|ssh-rsa) [A-Za-z0-9+/]+={0,2}$")]
    label: NonEmpty


class RegisteredKey(Model):
    """A deploy key of a repository, as the host lists it.

    Attributes:
        id: The host's identifier.
        public_key: As in :class:`DeployKey`, of any type. A comment is removed.
        label: The name of the key in the host's list, for people.
        read_only: Whether it may only read.
    """

    id: NonEmpty
    public_key: Annotated[NonEmpty, AfterValidator(_without_comment)]
    label: str = ""
    read_only: bool = True

    def is_of(self, key: DeployKey) -> bool:
        """Whether this is the given key."""
        return self.public_key == key.public_key


CommitState = Literal["in_progress", "successful", "failed", "stopped"]
"""The state of a deployment, in a form that most hosts have."""


class CommitStatus(Model):
    """The status of a commit's deployment, which a plugin reports to its host.

    Attributes:
        commit: The full hash of the commit.
        key: Identifies the status. A commit can have several statuses with different keys; a
            status replaces the previous one with the same key.
        state: The state of the deployment.
        name: The name to show to people.
        description: One line for people.
        url: The address of a page with details; empty if there is none.
        ref: The branch or tag that was deployed; empty if a commit hash was deployed.
    """

    commit: CommitHash
    key: Annotated[str, Field(min_length=1, max_length=40)]
    state: CommitState
    name: NonEmpty
    description: str = ""
    url: str = ""
    ref: str = ""


class DeploymentStatus(Model):
    """The status of a deployment to an environment, which a plugin reports to its host.

    Attributes:
        deployment: deploycore's number of the deployment. All reports of a deployment have the
            same number. If the host cannot store this number, the plugin updates the newest
            deployment of this environment and commit that has not ended.
        commit: The full hash of the commit.
        environment: The name of the environment, which is the application's name.
        state: The state of the deployment.
        description: One line for people.
        url: The address of a page with details; empty if there is none.
        ref: The branch or tag that was deployed; empty if a commit hash was deployed.
    """

    deployment: Annotated[int, Field(ge=1)]
    commit: CommitHash
    environment: NonEmpty
    state: CommitState
    description: str = ""
    url: str = ""
    ref: str = ""


def hmac_sha256_matches(body: bytes, signature: str, secrets: Iterable[SecretStr]) -> bool:
    """Whether a body was signed with one of the secrets, by HMAC-SHA256 (RFC 2104).

    The function always tries all secrets, so its duration does not show which of them is valid.

    Args:
        body: The signed bytes.
        signature: The signature in hexadecimal, without a prefix such as ``sha256=``.
        secrets: The secrets to try. An empty secret is never valid.
    """
    given = signature.strip().lower().encode("utf-8", "replace")
    matches = False
    for secret in secrets:
        key = secret.get_secret_value().encode()
        wanted = hmac.new(key, body, hashlib.sha256).hexdigest().encode()
        # `and` would skip the right side if the left one is false; `&` evaluates both.
        matches |= hmac.compare_digest(wanted, given) & bool(key)
    return matches


def signature_header_matches(
    delivery: WebhookDelivery, header: str, secrets: Iterable[SecretStr]
) -> bool:
    """Whether a header is ``sha256=`` and the HMAC-SHA256 of the delivery's body.

    Other algorithms do not match. See :func:`hmac_sha256_matches`.

    Args:
        delivery: The delivery.
        header: The name of the header, in lower case.
        secrets: The secrets to try.
    """
    algorithm, _, signature = delivery.headers.get(header, "").partition("=")
    return hmac_sha256_matches(delivery.body, signature, secrets) & (algorithm == "sha256")


def delivered_json(delivery: WebhookDelivery, host: str, *, form_field: str | None = None) -> bytes:
    """Return the JSON of a delivery, according to its content type.

    Without a content type, the body is used as JSON. The JSON is not parsed here.

    Args:
        delivery: The delivery.
        host: The name of the host, for error messages.
        form_field: The field of a form that has the JSON; ``None`` if the host sends only JSON.

    Raises:
        UnexpectedAnswer: The content type is neither JSON nor a form with this field.
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
    """Return the value of a field that must be in a form exactly once."""
    try:
        text = body.decode("ascii", "replace")
        found = parse_qs(text, errors="strict", max_num_fields=_FIELDS_MOST).get(name, [])
        content = found[0].encode() if len(found) == 1 else None
    except ValueError:  # too many fields, or bytes that are not text
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
    """Turn errors of parsing a delivery into :class:`~deploycore.errors.UnexpectedAnswer`.

    Use it as a decorator or a context manager around the code that parses. Invalid JSON and
    invalid fields are then errors of the delivery, not of the plugin.

    Args:
        host: The name of the host, for error messages.

    Raises:
        UnexpectedAnswer: The content is not what the host documents.
    """
    try:
        yield
        return
    except ValidationError as error:
        fields = sorted({str(problem["loc"][0]) for problem in error.errors() if problem["loc"]})
        wrong = f"these fields are wrong: {', '.join(fields)}"
    except (ValueError, RecursionError):  # ValueError also for numbers with too many digits
        wrong = "it is not valid JSON"
    raise unexpected_delivery(host, wrong)


def unexpected_delivery(
    host: str, what: str, *, hint: str = "Upgrade the plugin. Polling still works."
) -> UnexpectedAnswer:
    """Create the error for a delivery that does not match the host's documentation.

    Args:
        host: The name of the host.
        what: What is wrong, as the end of a sentence.
        hint: The next step.
    """
    return UnexpectedAnswer(
        f"The delivery does not match {host}'s documentation of webhooks: {what}.",
        hint=hint,
    )


DeploymentCause = deployment_records.DeploymentCause
"""Why a deployment was requested: by a webhook (``push``), by polling, over the REST API, on the
command line, for a pull request, or as a rollback. It is empty if a Python program gives no cause,
and for a deployment that is recovered after a crash."""

DeploymentKind = deployment_records.DeploymentKind
"""Whether a deployment deploys a commit or rolls back to a release."""

DeploymentState = deployment_records.DeploymentState
"""The state of a deployment. ``rolled_back``: the release was live and did not work, and the
previous release is live again. ``superseded``: while the deployment waited, a newer one was
requested. ``skipped``: there was nothing to deploy."""

FINAL_STATES = deployment_records.FINAL_STATES
"""The states in which a deployment has ended."""

DeploymentRecord = deployment_records.DeploymentRecord


@dataclass(frozen=True)
class ProviderCall:
    """One call of a provider's hook, as observers receive it.

    Attributes:
        provider: The name of the configured provider.
        kind: The kind of the provider.
        hook: The name of the hook.
        arguments: The arguments by name, without secrets.
    """

    provider: str
    kind: str
    hook: str
    arguments: Mapping[str, object]
