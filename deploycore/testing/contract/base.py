"""What all checks share: the host, providers connected to it, and how a failure reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, wraps
from typing import Any, ClassVar, Protocol, TypeVar

import pytest
from pydantic import SecretStr

from deploycore.configuration import ProviderConfig, parse_config
from deploycore.errors import DeploycoreError, PluginError
from deploycore.events import WebhookDelivery
from deploycore.hookspecs import ProviderSpec
from deploycore.http import HttpSettings
from deploycore.models import RepositoryId
from deploycore.provider import Provider
from deploycore.provider.background import Unanswered, call_within
from deploycore.provider.observers import Observers
from deploycore.provider.registry import Plugin, load_plugin
from deploycore.redaction import Redactor
from deploycore.testing.host import LoggedRequest
from deploycore.testing.paging import LinkHeader, NextLink
from deploycore.testing.scenarios import Access, Arranged, ContractHost, NotArranged
from deploycore.testing.webhooks import hmac_sha256

__all__ = [
    "ENDS",
    "ENDS_BY_ITSELF",
    "NO_DEPLOYMENTS",
    "NO_DEPLOY_KEYS",
    "NO_HOOK",
    "NO_PULL_REQUESTS",
    "NO_WEBHOOKS",
    "SKIPPED_BY_THE_KIT",
    "Connect",
    "ContractBase",
    "Leaks",
    "asked",
    "hook_requests",
    "identity",
    "instance_of",
    "must_raise",
    "promptly",
    "sent",
]

T = TypeVar("T")

PATIENT = HttpSettings(
    connect_timeout=5,
    read_timeout=5,
    total_timeout=20,
    retries=2,
    backoff_first=0.01,
    backoff_most=0.02,
    retry_after_most=0,
    pages_most=50,
)
HASTY = HttpSettings(read_timeout=0.3, total_timeout=1, retries=0, retry_after_most=0)
SECONDS_MOST = 30
CHECK_SECONDS_MOST = 120
PROVIDER_NAME = "contract"
ENDS = "a call ends, whatever the host does: the http client tries again, and gives up"
ENDS_BY_ITSELF = "a call returns or raises: it neither holds the interpreter nor ends the process"

SKIPPED_BY_THE_KIT = {
    "test_a_stock_git_client_accepts_it": "there is no git client here",
    "test_a_missing_scope_is_named": "no way to sign in has scopes: modes_without_scopes",
    "test_a_missing_scope_for_webhooks_is_named": "the least privileged may register webhooks",
    "test_a_missing_scope_for_statuses_is_named": "statuses ask for no scope: status_scope",
    "test_any_damage_is_an_event_or_an_unexpected_answer": "the host's deliveries are no JSON",
    **dict.fromkeys(
        (
            "test_a_sign_in_that_fails_is_a_typed_error",
            "test_a_token_that_is_refused_is_renewed_once",
            "test_a_token_that_has_expired_is_renewed_before_it_is_used",
            "test_threads_share_one_token",
            "test_a_token_is_used_while_it_cannot_be_renewed",
            "test_a_token_is_not_quoted_in_an_error",
        ),
        "the provider obtains no tokens from the host, which is optional: sign_in_path",
    ),
}
"""The standard checks that the kit itself may skip, and how it says so. ``plugin check`` takes
every other skip for a failure, except those of optional hooks."""

NO_HOOK = "the provider has no {hook}, which is optional"
NO_DEPLOY_KEYS = "the fake host has no deploy keys: deploycore.testing.scenarios.DeployKeysHost"
NO_DEPLOYMENTS = "the fake host has no deployments: deploycore.testing.scenarios.DeploymentsHost"
NO_PULL_REQUESTS = (
    "the fake host has no pull requests: deploycore.testing.scenarios.PullRequestHost"
)
NO_WEBHOOKS = "the fake host has no webhooks: deploycore.testing.scenarios.WebhookHost"

_DOCUMENTED = {
    "Config": "deploycore.configuration.ProviderConfig",
    "class": "deploycore.hookspecs, the rules for every provider hook",
    "secrets": "deploycore.hookspecs, the rules for every provider hook",
    "errors": "deploycore.errors",
}


@cache
def _loaded(kind: str) -> Plugin:
    """The plugin of a kind, loaded once: looking for it takes longer than many checks."""
    return load_plugin(kind)


def asked(of: str, rule: str) -> str:
    """The message of a failed check: what is asked, and where it is documented.

    Args:
        of: A hook's name, or ``Config``, ``class``, ``secrets``, ``errors``.
        rule: What the contract asks, as a sentence.
    """
    place = _DOCUMENTED.get(of, f"deploycore.hookspecs.ProviderSpec.{of}")
    return f"\nThe contract asks of {of}: {rule}\nDocumented in: {place}\nSeen:"


@contextmanager
def must_raise(
    expected: type[DeploycoreError], of: str, rule: str
) -> Iterator[list[DeploycoreError]]:
    """Fail unless the body raises an error of this type; it is put into the list that is given."""
    caught: list[DeploycoreError] = []
    try:
        yield caught
    except expected as error:
        caught.append(error)
        return
    except Exception as error:
        wrong = f"{type(error).__name__}: {error}"
    else:
        wrong = "no error"
    pytest.fail(f"{asked(of, rule)} {wrong}, and not {expected.__name__}", pytrace=False)


def promptly(of: str, rule: str, action: Callable[[], T], *, most: float | None = None) -> T:
    """What an action returns or raises; a failure where it does not end.

    Args:
        most: How many seconds it has; by default ``SECONDS_MOST``.
    """
    __tracebackhide__ = True
    most = SECONDS_MOST if most is None else most
    try:
        return call_within(action, most)
    except Unanswered:
        pass
    pytest.fail(f"{asked(of, rule)} it did not end within {most:g} seconds", pytrace=False)


def identity(arranged: Arranged) -> RepositoryId:
    """What the hooks take for a repository of a scenario."""
    return RepositoryId(owner=arranged.owner, slug=arranged.slug)


def sent(host: ContractHost) -> Sequence[LoggedRequest]:
    """What the host was asked so far; nothing where it keeps no log."""
    found: Sequence[LoggedRequest] = getattr(host, "requests", ())
    return found


def hook_requests(host: ContractHost) -> Sequence[LoggedRequest]:
    """What the host was asked so far, without the requests to sign in."""
    return [request for request in sent(host) if not host.faults.is_sign_in(request.path)]


def instance_of(provider: Provider) -> Any:
    """The plugin's own object, for what the core would mask or pass over."""
    return provider._connection.hooks.authenticate.get_hookimpls()[0].plugin


def _told(check: Callable[..., None]) -> Callable[..., None]:
    """The check, with the contract's words also for an error that it did not count on, and for
    a provider that never returns."""
    rule = check.__name__.removeprefix("test_").replace("_", " ")

    @wraps(check)
    def told(*arguments: Any, **named: Any) -> None:
        __tracebackhide__ = True
        try:
            return promptly(
                "class", ENDS, lambda: check(*arguments, **named), most=CHECK_SECONDS_MOST
            )
        except DeploycoreError as error:
            seen = f"{type(error).__name__}: {error}"
            hook = str(error.details.get("hook"))
        of = hook if hasattr(ProviderSpec, hook) and not hook.startswith("_") else "class"
        pytest.fail(f"{asked(of, rule)} {seen}", pytrace=False)

    return told


class Leaks:
    """Looks for secrets where none may be, in every form in which they travel."""

    def __init__(self, secrets: Iterable[SecretStr]) -> None:
        self._redactor = Redactor(secrets)

    def within(self, text: str) -> str:
        """Nothing, or the text with what was found masked."""
        masked = self._redactor.mask(text)
        return "" if masked == text else masked


class Connect(Protocol):
    """Opens a provider on the host; it is closed after the check."""

    def __call__(
        self,
        access: Access = Access.FULL,
        *,
        mode: str | None = None,
        settings: Mapping[str, str | SecretStr] | None = None,
        http: HttpSettings = PATIENT,
    ) -> Provider: ...


class ContractBase:
    """What an author says of a provider, and the fixtures that are made of it.

    Attributes:
        kind: The name of the provider's entry point.
        sandbox: The class of its sandbox. For another kind of fake host override ``start``.
        required_scope: What listing and cloning ask for, in the host's words: it has to stand
            in the error that says that it is missing. ``None`` where the host has no scopes.
        modes: The ways to sign in, by the sandbox's names; by default all that it has.
        modes_without_scopes: Those whose credentials have no scopes, as passwords have none, so
            that none can be missing.
        next_link: Where pages have their link; by default where the sandbox has it.
        read_ahead: How many pages the provider may ask for before they are wanted.
        clone_requests: How many requests ``clone_url`` may need.
        signature_header: Where deliveries of webhooks have their proof, in lower case.
        webhook_scope: What registering a webhook asks for, in the host's words; ``None`` where
            the least privileged credentials may do that.
        status_scope: Likewise what reporting a status asks for, which credentials without any
            scope lack; ``None`` where there is none.
        sign_in_path: A pattern for the paths of the requests by which the provider obtains a
            token that expires, such as ``*/access_tokens``; empty where it obtains none. Counts
            and faults that are meant for hooks leave these requests alone, and checks of their
            own fault them.
    """

    kind: ClassVar[str] = ""
    sandbox: ClassVar[Any] = None
    required_scope: ClassVar[str | None] = None
    modes: ClassVar[tuple[str, ...]] = ()
    modes_without_scopes: ClassVar[tuple[str, ...]] = ()
    next_link: ClassVar[NextLink | None] = None
    read_ahead: ClassVar[int] = 0
    clone_requests: ClassVar[int] = 0
    signature_header: ClassVar[str] = ""
    webhook_scope: ClassVar[str | None] = None
    status_scope: ClassVar[str | None] = None
    sign_in_path: ClassVar[str] = ""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if cls.__module__.startswith("deploycore.testing.contract."):
            for name, check in list(vars(cls).items()):
                if name.startswith("test_"):
                    setattr(cls, name, _told(check))

    def start(self) -> ContractHost:
        """A running fake host; ended after the check."""
        host: ContractHost = self.sandbox().start()
        return host

    def forged(self, delivery: WebhookDelivery, known: SecretStr, other: SecretStr) -> str:
        """The proof of a delivery, had it been made by another secret than it was.

        To be overridden where ``signature_header`` holds neither the HMAC-SHA256 of the body, in
        hexadecimal, nor the secret itself.
        """
        body, proof = delivery.body, delivery.headers[self.signature_header]
        forged = proof.replace(hmac_sha256(known, body), hmac_sha256(other, body))
        return forged.replace(known.get_secret_value(), other.get_secret_value())

    @classmethod
    def all_modes(cls) -> tuple[str, ...]:
        """The ways to sign in."""
        return cls.modes or tuple(cls.sandbox.MODES)

    @classmethod
    def links(cls) -> NextLink:
        """Where pages have their link."""
        if cls.next_link is not None:
            return cls.next_link
        pages = getattr(cls.sandbox, "PAGES", None)
        return pages.next_link if pages is not None else LinkHeader()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run what asks for ``mode`` once for each way to sign in, and what asks for
        ``scoped_mode`` once for each whose credentials have scopes."""
        if "mode" in metafunc.fixturenames:
            metafunc.parametrize("mode", self.all_modes())
        if "scoped_mode" in metafunc.fixturenames:
            scoped = [mode for mode in self.all_modes() if mode not in self.modes_without_scopes]
            reason = SKIPPED_BY_THE_KIT.get(metafunc.function.__name__, "") if not scoped else ""
            none = pytest.param("", marks=pytest.mark.skip(reason=reason), id="none")
            metafunc.parametrize("scoped_mode", scoped or [none])

    @pytest.fixture
    def plugin(self) -> Plugin:
        """The provider as the core's registry loads it."""
        try:
            return _loaded(self.kind)
        except PluginError as error:
            seen = f"{type(error).__name__}: {error}"
        rule = "it can be loaded: hooks, signatures, API_VERSION, Config and __init__ are right"
        pytest.fail(f"{asked('class', rule)} {seen}", pytrace=False)

    @pytest.fixture
    def host(self) -> Iterator[ContractHost]:
        """A running fake host that holds nothing yet."""
        running = self.start()
        running.faults.sign_in_path = self.sign_in_path
        yield running
        running.stop()
        crashes = "\n".join(getattr(running, "crashes", ()))
        assert not crashes, f"the fake host itself failed:\n{crashes}"

    @pytest.fixture
    def values(self, host: ContractHost) -> Callable[..., dict[str, str | SecretStr]]:
        """Makes the values of a configuration: ``values(Access.FULL, mode)``."""

        def make(access: Access, mode: str) -> dict[str, str | SecretStr]:
            try:
                connection = host.connect(mode, access)
            except NotArranged as error:
                pytest.fail(
                    f"The host has no credentials of mode {mode} that are {access.value}: "
                    f"{error}. Add them, or set this check aside with a reason.",
                    pytrace=False,
                )
            return {"name": PROVIDER_NAME, **connection.settings}

        return make

    @pytest.fixture
    def connect(
        self, plugin: Plugin, values: Callable[..., dict[str, str | SecretStr]]
    ) -> Iterator[Connect]:
        """Opens providers on the host, closed after the check."""
        with ExitStack() as opened:

            def open_one(
                access: Access = Access.FULL,
                *,
                mode: str | None = None,
                settings: Mapping[str, str | SecretStr] | None = None,
                http: HttpSettings = PATIENT,
            ) -> Provider:
                given = settings or values(access, mode or self.all_modes()[0])
                config: ProviderConfig = parse_config(plugin.config_type, given, kind=self.kind)
                made = Provider(plugin, config, http_settings=http, observers=Observers())
                return opened.enter_context(made)

            yield open_one

    @pytest.fixture
    def provider(self, connect: Connect) -> Provider:
        """Signed in with all rights, in the first mode."""
        return connect()
