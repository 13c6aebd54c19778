"""The base of all checks: the sandbox, providers connected to it, and the text of a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, cached_property, wraps
from typing import Any, ClassVar, Protocol, TypeVar, cast

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
    "NO_ASYNCSSH",
    "NO_DEPLOYMENTS",
    "NO_DEPLOY_KEYS",
    "NO_HOOK",
    "NO_PULL_REQUESTS",
    "NO_SSH_MODES",
    "NO_WEBHOOKS",
    "PATIENT",
    "PROVIDER_NAME",
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
ENDS = "every call ends, whatever the host does: the http client retries, and then gives up"
ENDS_BY_ITSELF = "a call returns or raises; it neither blocks the interpreter nor ends the process"

ABOUT_APIS = frozenset(
    {
        "test_a_limit_is_kept_and_saves_requests",
        "test_a_link_to_another_place_is_not_followed",
        "test_a_listing_can_be_read_again",
        "test_a_listing_that_is_left_early_asks_no_more",
        "test_a_loop_of_pages_is_an_error",
        "test_a_malformed_link_is_an_error",
        "test_a_page_that_fails_once_is_asked_for_again",
        "test_a_page_without_items_is_not_the_end",
        "test_all_pages_are_listed_in_the_hosts_order",
        "test_an_owner_without_repositories_has_an_empty_list",
        "test_credentials_that_end_while_a_listing_is_read_end_it",
        "test_listings_at_the_same_time_do_not_disturb_each_other",
        "test_names_are_quoted_once_in_requests",
        "test_nothing_is_asked_before_the_first_item_is_wanted",
        "test_pages_without_end_are_an_error",
        "test_public_and_empty_repositories_are_described_as_such",
        "test_what_was_listed_before_a_page_failed_was_given",
    }
)
"""The checks that need pages, a request for each page, or the host's own list of repositories; see
``has_api``. The author tests the listing."""

OF_CREDENTIALS = frozenset(
    {
        "test_credentials_that_the_host_refuses_are_called_so",
        "test_listings_say_too_that_credentials_are_refused",
        "test_two_providers_of_the_kind_do_not_disturb_each_other",
        "test_wrong_credentials_clone_nothing",
    }
)
"""The checks that need credentials that can be wrong; see ``modes_without_credentials``."""

NO_API = "the host has no API, and the provider lists what its configuration names: has_api"
NO_CREDENTIALS = "no way to sign in sends credentials: modes_without_credentials"

SKIPPED_BY_THE_KIT = {
    **dict.fromkeys(ABOUT_APIS, NO_API),
    **dict.fromkeys(OF_CREDENTIALS, NO_CREDENTIALS),
    "test_what_goes_wrong_is_a_typed_error": NO_API,
    "test_a_stock_git_client_accepts_it": "no git client is installed",
    "test_a_missing_scope_is_named": "no way to sign in has scopes: modes_without_scopes",
    "test_a_missing_scope_for_webhooks_is_named": "no scope is needed for webhooks: webhook_scope",
    "test_a_missing_scope_for_statuses_is_named": "no scope is needed for statuses: status_scope",
    "test_any_damage_is_an_event_or_an_unexpected_answer": "the host's deliveries are not JSON",
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
"""The standard checks that the kit itself may skip, with the reason. ``plugin check`` treats every
other skip as a failure, except those of optional hooks."""

NO_HOOK = "the provider has no {hook}, which is optional"
NO_DEPLOY_KEYS = "the sandbox has no deploy keys: deploycore.testing.scenarios.DeployKeysHost"
NO_SSH_MODES = "the provider has no way to sign in over SSH: modes_over_ssh"
NO_ASYNCSSH = "AsyncSSH is not installed: pip install 'deploycore[ssh]'"
NO_DEPLOYMENTS = "the sandbox has no deployments: deploycore.testing.scenarios.DeploymentsHost"
NO_PULL_REQUESTS = "the sandbox has no pull requests: deploycore.testing.scenarios.PullRequestHost"
NO_WEBHOOKS = "the sandbox has no webhooks: deploycore.testing.scenarios.WebhookHost"

_DOCUMENTED = {
    "Config": "deploycore.configuration.ProviderConfig",
    "class": "deploycore.hookspecs, the rules for every provider hook",
    "secrets": "deploycore.hookspecs, the rules for every provider hook",
    "errors": "deploycore.errors",
}


@cache
def _loaded(kind: str) -> Plugin:
    """Return the plugin of a kind, which is loaded only once: finding it takes longer than many
    checks."""
    return load_plugin(kind)


def asked(of: str, rule: str) -> str:
    """Return the message of a failed check: the requirement, and where it is documented.

    Args:
        of: A hook's name, or ``Config``, ``class``, ``secrets``, ``errors``.
        rule: What the contract requires, as a sentence.
    """
    place = _DOCUMENTED.get(of, f"deploycore.hookspecs.ProviderSpec.{of}")
    return f"\nThe contract requires of {of}: {rule}\nDocumented in: {place}\nSeen:"


@contextmanager
def must_raise(
    expected: type[DeploycoreError], of: str, rule: str
) -> Iterator[list[DeploycoreError]]:
    """Fail unless the body raises an error of this type. The error is added to the list."""
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
    """Return or raise what an action does; fail if it takes too long.

    Args:
        most: The maximum number of seconds (default: ``SECONDS_MOST``).
    """
    __tracebackhide__ = True
    most = SECONDS_MOST if most is None else most
    try:
        return call_within(action, most)
    except Unanswered:
        pass
    pytest.fail(f"{asked(of, rule)} it did not end within {most:g} seconds", pytrace=False)


def identity(arranged: Arranged) -> RepositoryId:
    """Return the ``RepositoryId`` of a scenario's repository."""
    return RepositoryId(owner=arranged.owner, slug=arranged.slug)


def sent(host: ContractHost) -> Sequence[LoggedRequest]:
    """Return the requests that the host has received; empty if it keeps no log."""
    found: Sequence[LoggedRequest] = getattr(host, "requests", ())
    return found


def hook_requests(host: ContractHost) -> Sequence[LoggedRequest]:
    """Return the requests that the host has received, without those that obtain a token."""
    return [request for request in sent(host) if not host.faults.is_sign_in(request.path)]


def instance_of(provider: Provider) -> Any:
    """Return the plugin's own instance, to see what the core would mask or skip."""
    return provider._connection.hooks.authenticate.get_hookimpls()[0].plugin


def _told(check: Callable[..., None]) -> Callable[..., None]:
    """Wrap a check, so that unexpected errors and endless calls of the provider also fail with the
    contract's text."""
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
    """Searches for secrets in places where they must not be, in every encoding that is sent."""

    def __init__(self, secrets: Iterable[SecretStr]) -> None:
        self._redactor = Redactor(secrets)

    def within(self, text: str) -> str:
        """Return the text with the secrets masked; empty if it has none."""
        masked = self._redactor.mask(text)
        return "" if masked == text else masked


class Connect(Protocol):
    """Opens a provider for the sandbox. It is closed after the check."""

    def __call__(
        self,
        access: Access = Access.FULL,
        *,
        mode: str | None = None,
        settings: Mapping[str, str | SecretStr] | None = None,
        http: HttpSettings = PATIENT,
    ) -> Provider: ...


class _OpenedOnUse:
    """A proxy that opens a provider at the first use of one of its attributes."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    @cached_property
    def _opened(self) -> Provider:
        return self._connect()


class ContractBase:
    """The facts about a provider that its author sets, and the fixtures that use them.

    Attributes:
        kind: The name of the provider's entry point.
        sandbox: The class of its sandbox. For a sandbox of another type, override ``start``.
        required_scope: The scope that listing and cloning require, in the host's words. The error
            about a missing scope must name it. ``None`` if the host has no scopes.
        modes: The ways to sign in, by the sandbox's names (default: all of the sandbox's).
        modes_without_scopes: The ways to sign in whose credentials have no scopes, such as
            passwords.
        next_link: Where a page has the link to the next one (default: the sandbox's own).
        read_ahead: The number of pages that the provider may request before they are needed.
        clone_requests: The number of requests that ``clone_url`` may send.
        signature_header: The header of a webhook delivery that has its signature, in lower case.
        webhook_scope: The scope that is required to register a webhook, in the host's words;
            ``None`` if the least privileged credentials can do it.
        status_scope: The scope that is required to report a status, and that credentials without
            any scope lack; ``None`` if there is none.
        sign_in_path: A pattern for the paths of requests that obtain a token that expires, such as
            ``*/access_tokens``; empty if the provider obtains none. Other checks do not count these
            requests and inject no faults into them. Separate checks inject faults into them.
        has_api: Whether the host has an API. Set ``False`` for a provider that only asks the git
            server, through the core's ``GitReader``, and lists what its configuration names. Then
            the checks of pages, JSON and the host's listings are skipped; see ``ABOUT_APIS``.
        modes_without_credentials: The ways to sign in that send no credentials. Checks of wrong or
            expired credentials are skipped for them.
        modes_over_ssh: The ways to sign in over SSH. They are checked against an SSH server that
            has the sandbox's repositories, if the extra ``deploycore[ssh]`` is installed.
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
    has_api: ClassVar[bool] = True
    modes_without_credentials: ClassVar[tuple[str, ...]] = ()
    modes_over_ssh: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if cls.__module__.startswith("deploycore.testing.contract."):
            for name, check in list(vars(cls).items()):
                if name.startswith("test_"):
                    setattr(cls, name, _told(check))

    def start(self) -> ContractHost:
        """Start the sandbox. It is stopped after the check."""
        host: ContractHost = self.sandbox().start()
        return host

    def forged(self, delivery: WebhookDelivery, known: SecretStr, other: SecretStr) -> str:
        """Return the signature of a delivery, computed with another secret.

        Override this if ``signature_header`` contains neither the HMAC-SHA256 of the body in
        hexadecimal nor the secret itself.
        """
        body, proof = delivery.body, delivery.headers[self.signature_header]
        forged = proof.replace(hmac_sha256(known, body), hmac_sha256(other, body))
        return forged.replace(known.get_secret_value(), other.get_secret_value())

    def ssh_settings(self, mode: str, ssh_url: str, repository: str) -> dict[str, str]:
        """Return the configuration of a mode over SSH, without ``name``.

        Override this if the fields of the mode are not those of
        :class:`~deploycore.refs_only.RefsOnlyConfig`. A field ``url`` that is left out gets the
        address of the sandbox.

        Args:
            ssh_url: The address of the SSH server, without the path of a repository.
            repository: The repository that the key is for, ``owner/slug``.
        """
        return {"mode": mode, "ssh_url": ssh_url, "repositories": repository}

    @classmethod
    def all_modes(cls) -> tuple[str, ...]:
        """Return all ways to sign in."""
        return cls.modes or tuple(cls.sandbox.MODES)

    @classmethod
    def links(cls) -> NextLink:
        """Return where a page has the link to the next one."""
        if cls.next_link is not None:
            return cls.next_link
        pages = getattr(cls.sandbox, "PAGES", None)
        return pages.next_link if pages is not None else LinkHeader()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize checks: ``mode`` is each way to sign in, ``scoped_mode`` each with scopes."""
        if "mode" in metafunc.fixturenames:
            metafunc.parametrize("mode", self._modes_of(metafunc.function.__name__))
        if "scoped_mode" in metafunc.fixturenames:
            scoped = [mode for mode in self.all_modes() if mode not in self.modes_without_scopes]
            reason = SKIPPED_BY_THE_KIT.get(metafunc.function.__name__, "") if not scoped else ""
            none = pytest.param("", marks=pytest.mark.skip(reason=reason), id="none")
            metafunc.parametrize("scoped_mode", scoped or [none])

        if "ssh_mode" in metafunc.fixturenames:
            none = pytest.param("", marks=pytest.mark.skip(reason=NO_SSH_MODES), id="none")
            metafunc.parametrize("ssh_mode", self.modes_over_ssh or [none])

    def _modes_of(self, check: str) -> Sequence[Any]:
        """The ways to sign in that a check is run for."""
        modes = self.all_modes()
        if check not in OF_CREDENTIALS:
            return modes
        shown = [mode for mode in modes if mode not in self.modes_without_credentials]
        return shown or [pytest.param("", marks=pytest.mark.skip(reason=NO_CREDENTIALS), id="none")]

    @pytest.fixture(autouse=True)
    def apart(self, request: pytest.FixtureRequest) -> None:
        """Skips the checks of APIs for a provider whose host has no API."""
        if not self.has_api and request.function.__name__ in ABOUT_APIS:
            pytest.skip(NO_API)

    @pytest.fixture
    def plugin(self) -> Plugin:
        """The plugin, as the core's registry loads it."""
        try:
            return _loaded(self.kind)
        except PluginError as error:
            seen = f"{type(error).__name__}: {error}"
        rule = "it can be loaded: hooks, signatures, API_VERSION, Config and __init__ are correct"
        pytest.fail(f"{asked('class', rule)} {seen}", pytrace=False)

    @pytest.fixture
    def host(self) -> Iterator[ContractHost]:
        """A running sandbox without content."""
        running = self.start()
        running.faults.sign_in_path = self.sign_in_path
        yield running
        running.stop()
        crashes = "\n".join(getattr(running, "crashes", ()))
        assert not crashes, f"the sandbox itself failed:\n{crashes}"

    @pytest.fixture
    def values(self, host: ContractHost) -> Callable[..., dict[str, str | SecretStr]]:
        """Returns the values of a configuration: ``values(Access.FULL, mode)``."""

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
        """Opens providers for the sandbox, and closes them after the check."""
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
        """A provider with all permissions, in the first mode.

        Without an API, it is opened when a check first uses it, because its configuration names the
        repositories, which the check has created by then.
        """
        return connect() if self.has_api else cast("Provider", _OpenedOnUse(connect))
