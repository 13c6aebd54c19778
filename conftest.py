"""What all tests share: sandboxes, and the check that holds each of them to the description.

The check watches every sandbox of the test process, whoever made it, and fails the test
during which an exchange was not as described.
"""

from __future__ import annotations

import functools
import gc
import importlib
import importlib.util
import os
import re
from pathlib import Path

import pytest

from tests.processes import pass_on_no_ignored_signals
from tests.reuse import keep_between_tests

gc.disable()  # until all is imported and collected; see pytest_collection
keep_between_tests()  # before other modules take what it replaces

# The templates are distributions of their own, and not installed here; see .ci/run.
collect_ignore = ["plugins/_template", "plugins/_observer_template"]

ROOT = Path(__file__).parent
SLOW_KINDS = {
    "faults": ("tests/faults/",),
    "hostile": ("tests/hostile/",),
    "end_to_end": ("tests/end_to_end/", "tests/browser/"),
    "documentation": ("tests/docs/",),
    # Gitea's runs of the kit are part of the fast suite: one plugin that runs through it.
    "conformance": (
        "plugins/bitbucket/tests/test_contract.py",
        "plugins/bitbucket/tests/test_kit_of_",
        "plugins/bitbucket_datacenter/tests/test_contract.py",
        "plugins/git/tests/test_contract.py",
        "plugins/github/tests/test_contract.py",
        "plugins/github/tests/test_kit_of_deployments.py",
        "plugins/gitlab/tests/test_contract.py",
        "plugins/gitlab/tests/test_kit.py",
        "tests/compatibility/test_older_plugin.py",
        "tests/testing/test_check.py",
        "tests/testing/test_mutants.py",
        "tests/testing/test_stopped_checks.py",
    ),
}
ON_A_SERVER = ("postgresql", "server")
"""Names of the databases that a server holds, in the parameters of fixtures."""
OUTSIDE = "outside_description(reason): says on purpose what Bitbucket's description has not"
DESCRIBED = {
    "Bitbucket": ("deploycore_bitbucket", "Sandbox", "tests.openapi"),
    "Bitbucket Data Center": (
        "deploycore_bitbucket_datacenter",
        "BitbucketDataCenterSandbox",
        "tests.openapi_data_center",
    ),
}
"""From a host to its plugin, the class of its sandbox, and what reads its description."""


def pytest_configure(config):
    config.addinivalue_line("markers", OUTSIDE)
    pass_on_no_ignored_signals()
    if importlib.util.find_spec("hypothesis") is not None:
        import hypothesis

        # Time-outs are for what hangs; how long an example takes is up to the machine.
        hypothesis.settings.register_profile("patient", deadline=None)
        hypothesis.settings.load_profile("patient")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Have the garbage collector pass over modules and tests, which all last until the end: a third
    of the time of collecting went to looking at them again and again.

    Of what tests leave, the collector looks through the young as often as by default, and through
    all of it seldom: that took longer than all the rest, and found little.
    """
    try:
        return (yield)
    finally:
        gc.freeze()
        young, middle, _ = gc.get_threshold()
        gc.set_threshold(young, middle, 100)
        gc.enable()


def pytest_collection_modifyitems(items):
    """Mark slow tests as such, and by their kind; see "Run tests" in CONTRIBUTING.md."""
    listed = slow_tests()
    for item in items:
        name = item.nodeid.partition("[")[0]
        kinds = [kind for kind, places in SLOW_KINDS.items() if name.startswith(places)]
        if kinds or name in listed or name.partition("::")[0] in listed or is_on_a_server(item):
            kinds.append("slow")
        for kind in kinds:
            item.add_marker(kind)


def is_on_a_server(item):
    """Whether this is the run of a test on PostgreSQL: the fast suite has the one on SQLite."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return any(isinstance(value, str) and value in ON_A_SERVER for value in values)


def pytest_ignore_collect(collection_path, config):
    """Leave files out of the fast suite that are slow as a whole: each process would import them
    and make their thousands of tests, only to deselect them."""
    if not is_fast_suite(config) or not collection_path.is_relative_to(ROOT):
        return None
    name = collection_path.relative_to(ROOT).as_posix() + "/" * collection_path.is_dir()
    whole = [place for places in SLOW_KINDS.values() for place in places]
    return True if name.startswith(tuple(whole)) or name in slow_tests() else None


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector, name):
    """Leave single functions out of the fast suite, too: one may stand for hundreds of tests."""
    is_left_out = is_fast_suite(collector.config) and f"{collector.nodeid}::{name}" in slow_tests()
    return [] if is_left_out else None


def is_fast_suite(config):
    """Whether no slow test is to run."""
    return config.option.markexpr == "not slow"


@functools.cache
def slow_tests():
    """Return the files and test functions that tests/slow.txt lists."""
    lines = (ROOT / "tests" / "slow.txt").read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Return the number of processes of ``pytest -n auto``: some tests wait, so one more than there
    are cores."""
    if config.option.numprocesses != "auto" or "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Have processes that are done take over what others still have to do: tests take from a
    millisecond to half a minute."""
    from tests.scheduling import LongTestsFirst

    return LongTestsFirst(config, log)


def pytest_make_parametrize_id(config, val, argname):
    """Keep what looks like a secret, and what one begins with, out of the names of tests."""
    if isinstance(val, str) and secret_pattern().search(val + "x" * 8):
        return f"secret-{argname}"
    return None


@functools.cache
def secret_pattern():
    """Return what matches the secrets that tests use: none may be in anything they print."""
    patterns = (ROOT / "tests" / "secret_patterns.txt").read_text().split()
    return re.compile("|".join(patterns))


def pytest_report_header():
    return [f"{host} API description: {_state_of_check(host)}" for host in DESCRIBED]


@pytest.fixture(scope="session")
def descriptions():
    """Makes Atlassian's description of a host's API when it is first asked for."""
    return {
        host: _Lazily(lambda reader=reader, path=path: reader.Description(path))
        for host in DESCRIBED
        if (reader := _reader(host)) and (path := reader.find_description())
    }


@pytest.fixture(scope="session")
def bitbucket_description(descriptions):
    """That of Bitbucket Cloud; ``None`` where it is not at hand."""
    return descriptions.get("Bitbucket")


@pytest.fixture(autouse=True)
def sandboxes_keep_to_the_description(request, descriptions):
    """Fails a test whose requests or answers are not as Bitbucket's description has them."""
    if not descriptions or request.node.get_closest_marker("outside_description"):
        yield
        return
    violations, watching = [], []
    for host, description in descriptions.items():
        sandbox = _sandbox(host)

        def watch(exchange, description=description):
            violation = description().violation(exchange)
            if violation:
                violations.append(violation)

        sandbox.watchers.append(watch)
        watching.append((sandbox, watch))
    yield
    for sandbox, watch in watching:
        sandbox.watchers.remove(watch)
    if violations:
        pytest.fail("not as Bitbucket's API description has it:\n" + "\n".join(violations))


@pytest.fixture
def make_sandbox():
    """Starts Bitbucket sandboxes, ended after the test: ``make_sandbox(latency=0.1)``."""
    from deploycore_bitbucket.sandbox import Sandbox

    running = []

    def make(**options):
        running.append(Sandbox(**options).start())
        return running[-1]

    yield make
    for sandbox in running:
        sandbox.stop()


@pytest.fixture
def demo_sandbox(make_sandbox):
    """A running Bitbucket sandbox with demo content."""
    return make_sandbox().with_demo_content()


class _Lazily:
    """Makes a thing when it is first asked for, once, whichever thread asks."""

    def __init__(self, make):
        import threading

        self._make = make
        self._lock = threading.Lock()
        self._made = None

    def __call__(self):
        with self._lock:
            if self._made is None:
                self._made = self._make()
        return self._made


def _reader(host):
    """The module that reads a host's description; ``None`` where its plugin is not installed."""
    plugin, _, module = DESCRIBED[host]
    return importlib.import_module(module) if importlib.util.find_spec(plugin) else None


def _sandbox(host):
    plugin, name, _ = DESCRIBED[host]
    return getattr(importlib.import_module(f"{plugin}.sandbox"), name)


def _state_of_check(host):
    reader = _reader(host)
    if reader is None:
        return "not checked, the plugin is not installed"
    if reader.find_description() is None:
        return f"not checked, neither {reader.VARIABLE} nor {reader.BESIDE_THE_REPOSITORY} is there"
    return "every exchange with the sandbox is checked"
