"""The boundary to plugins: a call reaches one plugin, and its faults are reported."""

from __future__ import annotations

import asyncio
import threading
import traceback
from contextlib import closing

import pytest
from pydantic import SecretStr

from deploycore.errors import (
    AuthenticationFailed,
    ConfigurationError,
    NotFound,
    PluginError,
    UnexpectedAnswer,
)
from deploycore.events import WebhookDelivery
from deploycore.hookspecs import hookimpl
from deploycore.models import BranchQuery, RepositoryId, RepositoryQuery
from deploycore.provider import Provider, open_provider
from deploycore.provider.observers import Observers
from deploycore.provider.registry import load_plugin

SECRET = "hunter2-very-secret"
REPOSITORY = RepositoryId(owner="ada", slug="engine")


@pytest.fixture
def open_acme(install_distribution, good_provider):
    """Open a provider made of the good one with some text replaced."""
    opened = []

    def open_it(*change: str, observers: Observers | None = None) -> Provider:
        assert not change or change[0] in good_provider
        source = good_provider.replace(*change) if change else good_provider
        install_distribution("acme-provider", "acme", source)
        plugin = load_plugin("acme")
        config = plugin.config_type(name="work", token=SecretStr(SECRET))
        opened.append(Provider(plugin, config, observers=observers or Observers()))
        return opened[-1]

    yield open_it
    for provider in opened:
        provider.close()


def assert_names_everything(error: PluginError, hook: str) -> None:
    assert error.details["provider"] == "work"
    assert error.details["plugin"] == "acme-provider 1.0"
    assert error.details["hook"] == hook
    shown = "".join(
        traceback.TracebackException.from_exception(error, capture_locals=True).format()
    )
    assert SECRET not in shown
    assert SECRET not in str(error.as_dict())


def test_every_hook_calls_the_plugin(open_acme):
    provider = open_acme()
    assert provider.authenticate().username == "ada"
    assert [found.slug for found in provider.list_repos()] == [f"repository-{n}" for n in range(3)]
    assert provider.find_branch(REPOSITORY, "main").commit == "1" * 40
    assert provider.clone_url(REPOSITORY).url == "https://acme.example/ada/engine.git"


def test_a_limit_applies_even_if_the_plugin_ignores_it(open_acme):
    found = list(open_acme().list_repos(RepositoryQuery(limit=2)))
    assert len(found) == 2


def test_items_repeated_by_a_changing_listing_are_returned_once(open_acme):
    again = ("for number in range(3)", "for number in (0, 1, 1, 2, 0, 2)")
    assert [found.slug for found in open_acme(*again).list_repos()] == [
        f"repository-{number}" for number in range(3)
    ]


def test_a_listing_that_yields_nothing_new_forever_is_an_error(open_acme):
    endless = ("for number in range(3)", "for number in itertools.cycle(range(3))")
    listing = open_acme(*endless).list_repos()
    assert [next(listing).slug for _ in range(3)] == [f"repository-{number}" for number in range(3)]
    with pytest.raises(UnexpectedAnswer, match="does not end") as caught:
        next(listing)
    assert caught.value.details["hook"] == "list_repos"


def test_filters_apply_even_if_the_plugin_ignores_them(open_acme):
    provider = open_acme()
    found = provider.list_repos(RepositoryQuery(name_contains="Y 1", limit=2))
    assert [row.slug for row in found] == ["repository-1"]
    assert list(provider.list_branches(REPOSITORY, BranchQuery(name="mai"))) == []
    query = BranchQuery(name="main", name_contains="X")
    assert list(provider.list_branches(REPOSITORY, query)) == []


def test_an_unknown_branch_is_not_found(open_acme):
    provider = open_acme()
    with pytest.raises(NotFound, match="ada/engine has no branch 'gone'") as caught:
        provider.find_branch(REPOSITORY, "gone")
    assert "deploycore branches work ada/engine" in caught.value.hint
    (listed,) = provider.list_branches(REPOSITORY)
    assert provider.find_branch(REPOSITORY, listed.name) == listed


def test_a_missing_hook_becomes_available_after_a_plugin_upgrade(open_acme, upgrade, good_provider):
    with pytest.raises(ConfigurationError, match="do not support find_repository") as caught:
        open_acme().find_repository(REPOSITORY)
    assert caught.value.hint == "Upgrade the plugin."
    found = "next(iter(self.list_repos(None)))"
    hook = f"    @hookimpl\n    def find_repository(self, repository):\n        return {found}\n"
    upgrade("acme_provider", f"{good_provider}\n{hook}")
    plugin = load_plugin("acme")
    config = plugin.config_type(name="work", token=SecretStr(SECRET))
    with closing(Provider(plugin, config, observers=Observers())) as provider:
        assert provider.find_repository(REPOSITORY).slug == "repository-0"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("return None", r"returned nothing \(None\), not Account"),
        ("return 'ada'", "returned a str, not Account"),
        ("return {'username': 'ada'}", "returned a dict, not Account"),
        ("raise KeyError('login')", "raised KeyError"),
        ("raise SystemExit(1)", "raised SystemExit"),
        ("raise RuntimeError(self.config.token.get_secret_value())", "raised RuntimeError"),
        ("return Account(username='')", "raised ValidationError"),
    ],
)
def test_an_invalid_return_value_names_plugin_provider_and_hook(open_acme, wrong, said):
    provider = open_acme('return Account(username="ada")', wrong)
    with pytest.raises(PluginError, match=said) as caught:
        provider.authenticate()
    assert_names_everything(caught.value, "authenticate")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("return None", r"returned nothing \(None\), not an iterable of Branch"),
        ("return 'main'", "returned a str"),
        ("return {'main': 1}", "returned a dict"),
        ("return ['main']", "gave a str as item 1, not Branch"),
        ("return [None]", r"gave nothing \(None\) as item 1"),
        ("return 7", "returned a int"),
        ("yield Branch.model_construct()", "gave an item that is not valid"),
    ],
)
def test_an_invalid_listing_names_plugin_provider_and_hook(open_acme, wrong, said):
    provider = open_acme('yield Branch(name="main", commit="1" * 40)', wrong)
    with pytest.raises(PluginError, match=said) as caught:
        list(provider.list_branches(REPOSITORY))
    assert_names_everything(caught.value, "list_branches")


def test_items_before_a_failing_page_are_returned(open_acme):
    provider = open_acme(
        'yield Branch(name="main", commit="1" * 40)',
        'yield Branch(name="main", commit="1" * 40); raise ValueError(self.config.token)',
    )
    listing = provider.list_branches(REPOSITORY)
    assert next(listing).name == "main"
    with pytest.raises(PluginError, match="list_branches raised ValueError") as caught:
        next(listing)
    assert_names_everything(caught.value, "list_branches")


def test_a_typed_error_is_raised_with_masked_context_and_no_cause(open_acme):
    provider = open_acme(
        'return Account(username="ada")',
        """
        from deploycore.errors import AuthenticationFailed
        secret = self.config.token.get_secret_value()
        try:
            raise ValueError(secret)
        except ValueError as error:
            raise AuthenticationFailed(f"refused {secret}", hint=f"not {secret}") from error
        """,
    )
    with pytest.raises(AuthenticationFailed, match=r"refused \*{8}") as caught:
        provider.authenticate()
    assert caught.value.__cause__ is None
    assert caught.value.hint == "not ********"
    assert caught.value.details["hook"] == "authenticate"


def test_a_git_credential_obtained_at_run_time_is_masked(open_acme):
    obtained = SecretStr("hunter2-of-this-hour")
    provider = open_acme(
        "password=self.config.token",
        f"password=__import__('pydantic').SecretStr({obtained.get_secret_value()!r})",
    )
    assert provider.secrets == (SecretStr(SECRET),)
    assert provider.clone_url(REPOSITORY).credential.password == obtained
    assert provider.secrets == (SecretStr(SECRET), obtained)


@pytest.mark.parametrize("raised", ["GeneratorExit", "SystemExit", "asyncio.CancelledError"])
def test_an_exception_outside_the_exception_class_is_blamed_on_the_plugin(open_acme, raised):
    failing = f"import asyncio; raise {raised}('x')"
    with pytest.raises(PluginError, match=raised.rpartition(".")[2]) as caught:
        open_acme('return Account(username="ada")', failing).authenticate()
    assert_names_everything(caught.value, "authenticate")


def test_an_error_with_unreadable_text_is_blamed_on_the_plugin(open_acme):
    failing = """
        class Strange(Exception):
            def __str__(self):
                raise RuntimeError("no text")
        raise Strange
        """
    with pytest.raises(PluginError, match=r"raised Strange: \(its text cannot") as caught:
        open_acme('return Account(username="ada")', failing).authenticate()
    assert_names_everything(caught.value, "authenticate")


def test_a_long_text_is_truncated_after_masking(open_acme):
    failing = "raise ValueError('x' * 1900 + self.config.token.get_secret_value() * 50)"
    with pytest.raises(PluginError, match="raised ValueError") as caught:
        open_acme('return Account(username="ada")', failing).authenticate()
    assert len(caught.value.message) < 2100
    assert SECRET[:4] not in caught.value.message


def test_a_keyboard_interrupt_passes_through_a_hook(open_acme):
    provider = open_acme('return Account(username="ada")', "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        provider.authenticate()
    outcome: list[BaseException] = []

    def elsewhere() -> None:
        try:
            provider.authenticate()
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert_names_everything(outcome[0], "authenticate")


def test_a_constructor_that_fails_is_named(open_acme):
    with pytest.raises(PluginError, match="__init__ raised ZeroDivisionError"):
        open_acme("self.config = config", "self.config = 1 / 0")


def test_a_closed_listing_closes_the_plugins_generator(open_acme, tmp_path):
    marker = tmp_path / "closed"
    provider = open_acme(
        'yield Branch(name="main", commit="1" * 40)',
        f"""
        import pathlib
        try:
            yield Branch(name="main", commit="1" * 40)
            yield Branch(name="next", commit="1" * 40)
        finally:
            pathlib.Path({str(marker)!r}).touch()
        """,
    )
    listing = provider.list_branches(REPOSITORY, BranchQuery(limit=1))
    assert [branch.name for branch in listing] == ["main"]
    assert marker.exists()


def test_optional_hooks_are_looked_up_by_name(open_acme):
    provider = open_acme()
    assert provider.supports("clone_url")
    assert not provider.supports("explain_git_refusal")
    assert provider.explain_git_refusal(401, "no") is None


class Recorder:
    """An observer that keeps all it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    @hookimpl
    def provider_call_started(self, call):
        self.told.append(("started", call))

    @hookimpl
    def provider_call_yielded(self, call, item):
        self.told.append(("yielded", item))

    @hookimpl
    def provider_call_finished(self, call, result, error):
        self.told.append(("finished", result if error is None else error))


def test_observers_see_calls_items_and_results_without_secrets(open_acme):
    recorder = Recorder()
    provider = open_acme(observers=Observers([("recorder", recorder)]))
    provider.authenticate()
    list(provider.list_branches(REPOSITORY))
    provider.clone_url(REPOSITORY)
    steps = [step for step, _ in recorder.told]
    assert steps == ["started", "finished", "started", "yielded", "finished", "started", "finished"]
    assert recorder.told[-1][1].credential is None
    assert SECRET not in repr(recorder.told)
    assert not any(isinstance(seen, Provider) for _, seen in recorder.told)


def test_observers_see_failures(open_acme):
    recorder = Recorder()
    provider = open_acme(
        'return Account(username="ada")', "return None", observers=Observers([("r", recorder)])
    )
    with pytest.raises(PluginError):
        provider.authenticate()
    assert isinstance(recorder.told[-1][1], PluginError)


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError, GeneratorExit])
def test_a_failing_observer_affects_neither_the_call_nor_other_observers(open_acme, caplog, error):
    class Failing:
        @hookimpl
        def provider_call_started(self):
            raise error("observer trouble")

    recorder = Recorder()
    provider = open_acme(observers=Observers([("failing", Failing()), ("recorder", recorder)]))
    assert provider.authenticate().username == "ada"
    assert [step for step, _ in recorder.told] == ["started", "finished"]
    assert f"failing failed in provider_call_started: {error.__name__}" in caplog.text


def test_an_observer_with_an_unknown_hook_is_rejected():
    class Mistyped:
        @hookimpl
        def provider_call_begun(self):
            """No such hook."""

    with pytest.raises(PluginError, match="provider_call_begun"):
        Observers([("mistyped", Mistyped())])


def test_installed_observers_are_notified_and_broken_ones_skipped(
    install_distribution, good_provider, caplog
):
    install_distribution("acme-provider", "acme", good_provider)
    install_distribution(
        "audit",
        "audit",
        """
        from deploycore.hookspecs import hookimpl
        SEEN = []
        @hookimpl
        def provider_call_started(call):
            SEEN.append((call.provider, call.hook))
        """,
        target="",
        group="deploycore.observers",
    )
    install_distribution(
        "wreck", "wreck", "import no_such_module", target="", group="deploycore.observers"
    )
    install_distribution(
        "skipper",
        "skipper",
        "raise GeneratorExit",
        target="",
        group="deploycore.observers",
    )
    with open_provider("acme", {"name": "work", "token": SecretStr(SECRET)}) as provider:
        provider.authenticate()
    import audit

    assert audit.SEEN == [("work", "authenticate")]
    assert "wreck" in caplog.text
    assert "skipper" in caplog.text


def test_a_secret_and_a_call_only_reach_the_named_provider(install_distribution, good_provider):
    spying = good_provider + "\nSEEN = []\n"
    spying = spying.replace(
        "self.config = config", "self.config = config; SEEN.append(config.token)"
    ).replace(
        'return Account(username="ada")', 'SEEN.append("called"); return Account(username="ada")'
    )
    install_distribution("acme-provider", "acme", spying)
    install_distribution("spy-provider", "spy", spying)
    with open_provider("acme", {"name": "work", "token": SecretStr(SECRET)}) as provider:
        provider.authenticate()
    spy = load_plugin("spy").provider_class.__init__.__globals__["SEEN"]
    assert spy == []
    assert load_plugin("acme").provider_class.__init__.__globals__["SEEN"][-1] == "called"


def test_an_invalid_configuration_names_the_field_and_not_the_value(
    install_distribution, good_provider
):
    install_distribution("acme-provider", "acme", good_provider)
    values = {"name": "work", "tokn": SecretStr(SECRET)}
    with pytest.raises(ConfigurationError, match="token: is missing") as caught:
        open_provider("acme", values)
    assert "tokn: is not known here" in str(caught.value)
    assert SECRET not in str(caught.value)


WEBHOOK = """
    @hookimpl
    def register_webhook(self, repository, url, secret):
        raise ValueError(f"no such thing: {secret.get_secret_value()}")

    @hookimpl
    def verify_webhook(self, delivery, secrets):
        raise ValueError(f"no such thing: {secrets[0].get_secret_value()}")

    @hookimpl
    def list_repos"""


def test_a_webhook_secret_in_a_plugin_result_is_masked(open_acme):
    calls = []

    class Watching:
        @hookimpl
        def provider_call_started(self, call):
            calls.append(call)

    watching = Observers([("watching", Watching())])
    provider = open_acme("\n    @hookimpl\n    def list_repos", WEBHOOK, observers=watching)
    secret = SecretStr("webhook-hunter2-secret")
    delivery = WebhookDelivery({}, b"")
    for hook, call in (
        ("register_webhook", lambda: provider.register_webhook(REPOSITORY, "https://x", secret)),
        ("verify_webhook", lambda: provider.verify_webhook(delivery, (secret,))),
    ):
        with pytest.raises(PluginError, match="no such thing") as caught:
            call()
        assert_names_everything(caught.value, hook)
        assert secret.get_secret_value() not in f"{caught.value} {caught.value.as_dict()}"
    assert [set(call.arguments) for call in calls] == [{"repository", "url"}, {"delivery"}]
