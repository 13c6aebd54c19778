"""Calls that may hang: their results and errors, and the calls that were abandoned."""

from __future__ import annotations

import contextvars
import signal
import threading

import pytest

from deploycore.errors import PluginError
from deploycore.provider.background import (
    BackgroundCall,
    Unanswered,
    call_within,
    calls_left_behind,
    calls_under_way,
    is_interrupt,
    under_way,
)
from deploycore.provider.guard import Guard
from deploycore.redaction import Redactor

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


@pytest.fixture
def over():
    event = threading.Event()
    yield event
    event.set()


def test_a_call_runs_in_another_thread_with_the_context_of_its_caller():
    variable.set("ours")
    seen = call_within(lambda: (variable.get(), threading.get_ident()), 20)
    assert seen[0] == "ours"
    assert seen[1] != threading.get_ident()


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), KeyboardInterrupt()])
def test_an_exception_of_a_call_is_raised_unchanged(error):
    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        call_within(fail, 20)
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None


def test_a_call_that_times_out_is_named_and_abandoned(over):
    def hang():
        with under_way("provider work", "clone_url", "acme 1.0"):
            over.wait()

    with pytest.raises(Unanswered, match=r"^provider work: clone_url of acme 1\.0$") as caught:
        call_within(hang, 0.1)
    assert caught.value.under_way.hook == "clone_url"
    assert calls_left_behind()
    assert calls_under_way() == []  # nobody waits for it any more


def test_a_cancellation_is_raised_while_the_call_continues(over):
    class Enough(Exception):
        pass

    def look():
        raise Enough

    with pytest.raises(Enough):
        call_within(over.wait, 20, look=look)
    assert calls_left_behind()


def test_the_late_result_of_an_abandoned_call_is_passed_on_for_closing(over):
    late, given = threading.Event(), []

    def take(result):
        given.append(result)
        late.set()

    def hang():
        over.wait()
        return "something to close"

    with pytest.raises(Unanswered):
        call_within(hang, 0.05, late=take)
    over.set()
    assert late.wait(20)
    assert given == ["something to close"]


def test_abandoning_a_finished_call_passes_on_its_result_for_closing():
    given = []
    call = BackgroundCall(lambda: "something to close")
    assert call.wait(20)
    call.leave(given.append)
    assert given == ["something to close"]


def test_a_failure_of_an_abandoned_call_affects_nobody(over):
    def fail():
        over.wait()
        raise ValueError

    call = BackgroundCall(fail)
    call.leave(lambda result: pytest.fail("there is none"))
    over.set()
    assert call.wait(20)


def test_nested_calls_are_reported_from_the_innermost_outward():
    with under_way("plugin acme", "import"):
        with under_way("observer audit", "deploy_started"):
            assert [str(call) for call in calls_under_way()] == ["observer audit: deploy_started"]
        assert [str(call) for call in calls_under_way()] == ["plugin acme: import"]
    assert calls_under_way() == []


class Enough(BaseException):
    """What a test runner raises at a time limit."""


def test_an_exception_of_a_signal_handler_is_not_blamed_on_a_plugin():
    def end(number, frame):
        raise Enough

    former = signal.signal(signal.SIGUSR1, end)
    try:
        with pytest.raises(Enough) as caught:
            signal.raise_signal(signal.SIGUSR1)
        assert is_interrupt(caught.value)
        guard = Guard("work", "acme 1.0", Redactor([]))
        with pytest.raises(Enough):
            guard("authenticate", lambda: signal.raise_signal(signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, former)


@pytest.mark.parametrize("kind", [Enough, SystemExit, GeneratorExit, ValueError])
def test_an_exception_of_a_plugin_is_blamed_on_the_plugin(kind):
    def fail():
        raise kind("no")

    with pytest.raises(PluginError, match=kind.__name__):
        Guard("work", "acme 1.0", Redactor([]))("authenticate", fail)
