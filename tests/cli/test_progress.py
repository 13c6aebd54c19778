"""What a command prints while it works."""

from __future__ import annotations

from deploycore.cli.progress import cancelled_by_signals, reporting


def test_without_a_terminal_each_phase_is_printed_once(capsys):
    with reporting(silent=False) as reporter:
        for phase in ("fetching", "fetching", "activating"):
            reporter.show(phase)
        reporter.say("\033[31mdone")
    assert capsys.readouterr() == ("", "fetching …\nactivating …\n  \\x1b[31mdone\n")


def test_a_silent_command_prints_nothing(capsys):
    with reporting(silent=True) as reporter:
        reporter.show("fetching")
        reporter.say("done")
    assert capsys.readouterr() == ("", "")


def test_without_a_signal_nothing_is_canceled():
    with cancelled_by_signals() as cancellation:
        assert not cancellation.cancelled
