"""Time limits of database sessions."""

from __future__ import annotations

from deploycore.store.waiting import SERVER_SETTINGS, limit_server


def test_each_limit_of_a_session_is_set():
    statement = limit_server()
    assert statement.startswith("SELECT set_config(")
    assert statement.count("set_config") == len(SERVER_SETTINGS)
    assert "set_config('lock_timeout', '10000', false)" in statement


def test_limits_can_end_with_the_transaction():
    assert limit_server({"lock_timeout": 5}, local=True) == (
        "SELECT set_config('lock_timeout', '5', true)"
    )
