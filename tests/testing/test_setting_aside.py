"""A standard check is set aside by ``xfail`` with a reason, and in no other way."""

from __future__ import annotations

import pytest

from deploycore.testing import ProviderContract
from deploycore.testing.contract.setting_aside import faults_in, knobs
from tests.testing.kit import install_template, run_kit

CHECK = "test_signing_in_is_cheap"
MODULE = """
import pytest
from deploycore_acme.contract import AcmeContract


class TestAcme(AcmeContract):
    @pytest.mark.xfail(reason="Acme has no cheap question to ask")
    def test_signing_in_is_cheap(self): raise AssertionError
"""
NARROWED = """
from deploycore_acme.contract import AcmeContract
from deploycore_acme.sandbox import AcmeSandbox


class Wide(AcmeSandbox):
    MODES = {"token": "Token", "password": "Password"}


class TestAcme(AcmeContract):
    sandbox = Wide
    modes = ("token",)
"""
EMPTIED = """
from deploycore_acme.contract import AcmeContract
from deploycore_acme.sandbox import AcmeSandbox


class Modeless(AcmeSandbox):
    MODES = {}


class TestAcme(AcmeContract):
    sandbox = Modeless
"""


def subclass(check=ProviderContract.test_signing_in_is_cheap, **members):
    """A class of an author's with this in the place of a standard check."""
    return type("Checks", (ProviderContract,), {CHECK: check, "__module__": "theirs", **members})


def replacement(self):
    raise AssertionError


def with_ellipsis(self): ...


def with_pass(self):
    pass


def with_docstring(self):
    """A check that checks nothing."""


def marked(*marks):
    """The same with marks."""

    def check(self):
        raise AssertionError

    check.pytestmark = list(marks)
    return check


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(None, id="deleted"),
        pytest.param(replacement, id="replaced"),
        pytest.param(marked(pytest.mark.skip(reason="not today").mark), id="skipped"),
        pytest.param(
            marked(pytest.mark.skipif(True, reason="not here").mark), id="skipped-on-a-condition"
        ),
        pytest.param(marked(pytest.mark.xfail().mark), id="without-a-reason"),
        pytest.param(marked(pytest.mark.xfail(reason="fails").mark), id="with-a-word"),
        pytest.param(marked(pytest.mark.xfail(reason=" " * 40).mark), id="with-blanks"),
    ],
)
def test_a_check_excluded_in_another_way_is_rejected(check):
    with pytest.raises(TypeError, match=f"{CHECK} is overridden.*set aside only by overriding"):
        subclass(check)


@pytest.mark.parametrize(
    "mark",
    [
        pytest.mark.xfail(False, reason="Acme has no cheap question to ask"),
        pytest.mark.xfail(condition=False, reason="Acme has no cheap question to ask"),
        pytest.mark.xfail("False", reason="Acme has no cheap question to ask"),
    ],
    ids=["position", "name", "text"],
)
def test_a_conditionally_excluded_check_is_rejected(mark):
    with pytest.raises(TypeError, match=f"{CHECK} is set aside on a condition"):
        subclass(marked(mark.mark))


def test_a_check_excluded_by_a_base_class_is_rejected():
    mixin = type("Mixin", (), {CHECK: replacement})
    with pytest.raises(TypeError, match=f"{CHECK} is overridden"):
        type("Checks", (mixin, ProviderContract), {"__module__": "theirs"})


@pytest.mark.parametrize(
    "mark",
    [
        pytest.mark.skip(reason="the host is down today"),
        pytest.mark.skipif(True, reason="the host is down today"),
        pytest.mark.xfail(reason="the host is down today"),
    ],
    ids=["skip", "skipif", "xfail"],
)
def test_marks_on_the_whole_class_are_rejected(mark):
    with pytest.raises(TypeError, match=f"the whole class is marked {mark.name}"):
        subclass(pytestmark=[mark.mark])
    # As a decorator it comes too late for the class, and in time for the check.
    assert list(faults_in(mark(subclass()))) == [f"the whole class is marked {mark.name}"]


def test_a_check_removed_after_class_creation_is_detected():
    checks = subclass()
    setattr(checks, CHECK, None)
    assert list(faults_in(checks)) == [f"{CHECK} is overridden without such a reason"]


def test_xfail_with_a_reason_is_allowed():
    reason = pytest.mark.xfail(reason="Acme has no cheap question to ask")
    assert list(faults_in(subclass(marked(reason.mark)))) == []


@pytest.mark.parametrize("body", [with_ellipsis, with_pass, with_docstring, lambda self: None])
def test_an_override_without_a_body_is_rejected(body):
    mark = pytest.mark.xfail(reason="Acme has no cheap question to ask")
    with pytest.raises(TypeError, match=f"{CHECK} has no body: raise AssertionError in it"):
        subclass(mark(type(body)(body.__code__, globals(), CHECK)))


@pytest.mark.parametrize(
    ("name", "member"),
    [
        ("test_signing_in_is_cheep", replacement),
        ("test_singing_in_is_cheap", with_ellipsis),
        ("tests_signing_in_is_cheap", replacement),
        ("test_signing_in_is_not_expensive", marked(pytest.mark.xfail(reason="it is").mark)),
        ("test_signing_in_is_for_free", with_pass),
    ],
)
def test_a_misspelled_check_is_rejected(name, member):
    with pytest.raises(TypeError, match=f"{name} is not a check of the kit.*{CHECK}"):
        subclass(**{name: member})


def test_a_misspelled_check_of_a_base_class_is_rejected():
    mixin = type("Mixin", (), {"test_signing_in_is_cheep": replacement})
    with pytest.raises(TypeError, match=f"similar names: {CHECK}"):
        type("Checks", (mixin, ProviderContract), {"__module__": "theirs"})


def test_additional_checks_of_the_author_are_allowed():
    assert list(faults_in(subclass(test_of_their_own=replacement))) == []


def test_an_excluded_check_is_reported_with_its_reason(tmp_path):
    names = (CHECK, "test_nothing_is_set_aside_without_a_reason")
    outcomes = run_kit(tmp_path, install_template(tmp_path), module=MODULE, checks=names)
    (aside,), (guard,) = (outcomes[name] for name in names)
    assert aside.result == "skipped"
    assert "Acme has no cheap question to ask" in aside.text
    assert guard.result == "passed"


def test_a_provider_without_authentication_modes_is_rejected(tmp_path):
    name = "test_nothing_is_set_aside_without_a_reason"
    outcomes = run_kit(tmp_path, install_template(tmp_path), module=EMPTIED, checks=[name])
    assert outcomes[name][0].result == "failure"
    assert "the sandbox has a way to sign in" in outcomes[name][0].text


def test_an_omitted_authentication_mode_is_rejected(tmp_path):
    name = "test_nothing_is_set_aside_without_a_reason"
    outcomes = run_kit(tmp_path, install_template(tmp_path), module=NARROWED, checks=[name])
    assert outcomes[name][0].result == "failure"
    assert "modes includes every way to sign in that the sandbox has" in outcomes[name][0].text


def test_custom_settings_of_a_contract_class_are_reported():
    said = knobs(subclass(kind="acme", read_ahead=2, start=replacement))
    assert said == {"read_ahead": "2", "start": "of its own"}
