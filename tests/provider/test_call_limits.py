"""A provider with a limit: each call ends in time, and listings are read at once."""

from __future__ import annotations

import threading

import pytest

from deploycore.errors import Cancelled, PluginError
from deploycore.provider.limits import CallLimit, limited


class Plugin:
    label = "deploycore-acme 0.1.0"


class Acme:
    """As much of a provider as the limit needs."""

    name = "work"
    plugin = Plugin()

    def __init__(self, limit=None):
        self.limit = limit
        self.unlimited = self if limit is None else Acme()

    @limited
    def here(self):
        return threading.current_thread()

    @limited
    def rows(self):
        return (threading.current_thread() for _ in range(2))

    @limited
    def hang(self, over):
        over.wait(60)


def test_without_a_limit_a_call_runs_in_the_thread_of_the_caller():
    assert Acme().here() is threading.current_thread()
    assert next(Acme().rows()) is threading.current_thread()


def test_with_a_limit_a_call_runs_in_its_own_thread():
    acme = Acme(CallLimit(60, lambda: None))
    assert acme.here() is not threading.current_thread()
    assert threading.current_thread() not in list(acme.rows())


def test_a_call_that_times_out_names_the_plugin_and_the_call():
    over = threading.Event()
    with pytest.raises(PluginError, match=r"did not answer within 0\.05 s") as caught:
        Acme(CallLimit(0.05, lambda: None)).hang(over)
    over.set()
    details = caught.value.details
    assert (details["provider"], details["plugin"]) == ("work", Plugin.label)
    assert details["hook"] == "hang"
    assert caught.value.hint.startswith("Try again. For a slow host, raise the application's timeo")
    Acme(CallLimit(60, lambda: None)).hang(over)


def test_a_caller_can_cancel_the_wait():
    over = threading.Event()

    def cancelled():
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        Acme(CallLimit(60, cancelled)).hang(over)
    over.set()
