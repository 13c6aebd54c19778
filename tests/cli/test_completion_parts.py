"""What Tab offers, without the process that a shell starts for it."""

from __future__ import annotations

import os
import signal

import pytest

from deploycore import Installation, Settings
from deploycore.cli import completion_answers, completion_cache
from deploycore.cli.completion import offers
from deploycore.store.token_digests import digest_of, new_token


@pytest.fixture
def chosen_home(home, monkeypatch):
    monkeypatch.setenv("DEPLOYCORE_HOME", str(home))
    return home


def test_names_come_from_the_database(chosen_home):
    with Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(chosen_home)})) as opened:
        digest = digest_of(new_token())
        opened.store.tokens.add("ci", digest=digest, role="read", expires_at=None)
    assert list(offers(["token", "remove"], "")) == [("ci", "read")]
    assert list(offers(["token", "remove"], "x")) == []


def test_a_recent_answer_is_read_from_its_file(chosen_home):
    question = ["branches", "work", "acme/shop"]
    path = completion_cache._path(question)
    path.write_text("main\t\nnext\tnewest\n")
    assert completion_cache.answer(question) == [("main", ""), ("next", "newest")]
    assert path.parent.stat().st_mode & 0o77 == 0


def test_a_kind_that_is_not_installed_has_no_stamp():
    assert completion_cache.stamp_of_kind("nope") == ""


@pytest.mark.parametrize("question", [["branches", "nope", "acme/shop"], ["nonsense"]])
def test_a_question_without_an_answer_is_not_asked_again(
    chosen_home, tmp_path, monkeypatch, question
):
    limits = []
    monkeypatch.setattr(signal, "alarm", limits.append)
    with open(tmp_path / "answer", "w+") as file:
        completion_answers.main([str(file.fileno()), *question])
        assert os.pread(file.fileno(), 10, 0) == b"\n"
    assert limits == [60]
