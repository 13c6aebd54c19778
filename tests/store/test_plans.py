"""Frequent queries use indexes, and the cost of a write depends only on its size."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from deploycore import Installation, Settings
from deploycore.applications.application import AutoDeploy
from deploycore.errors import ConfigurationError
from deploycore.store import DeliveryRecord, targets
from deploycore.store.named import StatementsOfEngine
from deploycore.store.new_applications import refuse_unknown_providers
from deploycore.worker.polling import Poller
from tests.sent import sent_statements

HUNDREDS = 3
_LARGE = ("applications", "triggers", "polls", "webhooks", "deployments", "previews", "deliveries")
_IN_ORDER = ("ix_triggers_queue", "ix_triggers_turn", "ix_previews_live", "ix_previews_ended")
_SORTS = "USE TEMP B-TREE"


@pytest.fixture(scope="module")
def filled_home(tmp_path_factory, provider, application):
    """A data directory with applications ``shop0`` to ``shop299``, polled, and triggers."""
    home = tmp_path_factory.mktemp("shops") / "home"
    with Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(home)})) as installation:
        store = installation.store
        store.add_provider(provider())
        made = [
            application(f"shop{number}", auto_deploy=AutoDeploy())
            for number in range(100 * HUNDREDS)
        ]
        store.put_applications(made)
        for each in made[:20]:
            store.triggers.add(each.name, cause="push")
    return home


@pytest.fixture
def shops(settings, filled_home):
    """An installation of this test's own, with what is in ``filled_home``."""
    shutil.copytree(filled_home, settings.home)
    with Installation(settings) as installation:
        yield installation


def plans(store, seen) -> dict[str, list[str]]:
    """How SQLite looks up each statement."""
    found = {}
    with store._database.reading() as connection:
        for statement, parameters in seen:
            if statement.split()[0] in ("SELECT", "UPDATE", "DELETE", "INSERT"):
                rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                found[statement] = [row[3] for row in rows]
    return found


def claimed_and_settled(installation):
    store = installation.store
    (first, *_) = store.triggers.queue("here", limit=2, without={"other"}, retries=False)
    store.claims.take(first.application, "w1", lease=30)
    store.claims.beat("w1", host="here", process=1, lease=30, held=[first.application])
    found = store.triggers.open(first.application)
    store.triggers.postpone([each.id for each in found], seconds=1, error_code="git")
    store.triggers.settle([each.id for each in found])
    store.claims.release(first.application, "w1")


def recorded(installation):
    texts = dict.fromkeys(("reason", "message", "event", "ref", "actor", "sender", "delivery"), "")
    at = datetime(2026, 11, 29, tzinfo=UTC)
    given = texts | {"commit": None, "trigger": None, "received_at": at, "first_at": at}
    outcomes = ("accepted", "refused", "refused")
    installation.store.deliveries.add(DeliveryRecord("shop7", each, **given) for each in outcomes)


OFTEN = {
    "the queue": lambda it: it.store.triggers.queue("here", limit=10),
    "one application": lambda it: it.store.triggers.queue("here", "shop7", limit=1),
    "until the next look": lambda it: it.store.triggers.seconds_to_next(),
    "a trigger": lambda it: it.store.triggers.add("shop7", cause="push", delivery="1", digest="2"),
    "what was told last": lambda it: it.store.triggers.newest("shop7", "main"),
    "a claim": claimed_and_settled,
    "what is to be polled": lambda it: it.store.polls.due(host="here", limit=5),
    "polling": lambda it: it.store.polls.take(["shop7"], lease=30),
    "a poll's answer": lambda it: it.store.polls.note("shop7", after=1, seconds=1, commit="c"),
    "a delivery's application": lambda it: it.store.find_webhook("shop7"),
    "a delivery's webhook": lambda it: it.store.webhooks.find("shop7"),
    "deliveries": lambda it: it.store.deliveries.list("shop7", before=9, limit=5),
    "what came": lambda it: it.store.deliveries.history(None, before=9, limit=5),
    "what came for one": lambda it: it.store.deliveries.history("shop7", before=9, limit=5),
    "refused deliveries": lambda it: it.store.deliveries.list_refused("shop7"),
    "recording deliveries": recorded,
    "previews to remove": lambda it: it.store.previews.ended(),
    "deployments": lambda it: it.store.deployments.list("shop7", limit=5),
    "a provider's applications": lambda it: it.store.applications_of_providers(["work"], most=5),
    "unfinished deployments": lambda it: it.store.deployments.unfinished("shop7"),
}


@pytest.mark.parametrize("what", OFTEN)
def test_frequent_queries_scan_no_table(shops, what):
    with sent_statements() as seen:
        OFTEN[what](shops)
    for statement, steps in plans(shops.store, seen).items():
        for step in steps:
            scanned = step.partition("SCAN ")[2].split(" ")
            # By the index of what is open, in its order: it stops at what is wanted.
            is_queue = scanned[-1] in _IN_ORDER
            assert scanned[0] not in _LARGE or is_queue, statement
            is_of_one = "triggers.application = ?" in statement
            assert is_of_one or not step.startswith(_SORTS) or "triggers" not in statement


def test_an_idle_poll_runs_a_constant_number_of_queries(shops):
    poller = Poller(shops)
    shops.store.polls.pause({f"shop{number}": 600 for number in range(100 * HUNDREDS)})
    with sent_statements() as seen:
        assert poller.look() == 0
    assert len([each for each, _ in seen if each.startswith("SELECT")]) == 7


def test_applications_are_written_by_a_few_statements(shops, application):
    counts = []
    shops.apply([application("first")])  # opens the connection
    for many in (100, 200):
        changed = [
            application(f"shop{number}", ref=f"v{many}", auto_deploy=AutoDeploy())
            for number in range(many)
        ] + [application(f"new{many}-{number}") for number in range(many)]
        with sent_statements() as seen:
            shops.apply(changed)
        counts.append(len(seen))
    assert counts[0] == counts[1] < 20


def test_deliveries_of_many_applications_are_recorded_by_a_few_statements(shops):
    counts = []
    texts = dict.fromkeys(("message", "event", "ref", "actor", "sender", "delivery"), "")
    at = datetime(2026, 11, 29, tzinfo=UTC)
    given = texts | {"commit": None, "trigger": None, "received_at": at, "first_at": at}
    shops.store.deliveries.list("shop0")  # opens the connection
    for many in (1, 100, 100):
        records = [
            DeliveryRecord(f"shop{number}", outcome, reason=reason, **given)
            for number in range(many)
            for outcome, reason in (("accepted", ""), ("refused", "stale"), ("refused", "busy"))
        ]
        with sent_statements() as seen:
            shops.store.deliveries.add(records)
        counts.append(len([each for each, _ in seen if not each.startswith("PRAGMA")]))
    assert counts[0] == counts[1] == counts[2] < 7
    for number, count in ((0, 3), (99, 2)):
        refused = shops.store.deliveries.list_refused(f"shop{number}")
        assert {each.reason: each.count for each in refused} == {"stale": count, "busy": count}


def test_targets_are_compared_in_linear_time(application, monkeypatch):
    looked_at = []
    original = targets._and_above
    monkeypatch.setattr(targets, "_and_above", lambda key: looked_at.append(key) or original(key))
    stored = targets.places_of(application(f"old{number}") for number in range(200))
    new = targets.places_of(application(f"new{number}") for number in range(200))
    targets.refuse_common_targets(new, stored)
    assert len(looked_at) == 400


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ("/srv/shop", "/srv/shop"),
        ("/srv/shop", "//srv/shop"),
        ("/srv/shop", "/srv/shop/below/it"),
        ("/srv/shop/below/it", "/srv/shop"),
        ("/srv/shop", "/"),
    ],
)
def test_an_overlapping_target_is_rejected_before_the_database_is_locked(
    shops, application, monkeypatch, stored, wanted
):
    shops.store.put_applications([application("one", target=stored)])
    monkeypatch.setattr(shops.store._database, "writing", None)
    with pytest.raises(ConfigurationError, match="already has the target") as caught:
        shops.store.put_applications([application("two", target=wanted)])
    assert caught.value.details["application"] == "one" or wanted == "/"


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ("real/shop", "link/shop"),
        ("link/shop", "real/shop"),
        ("link/shop", "link2/shop"),
        ("link/shop", "real/shop/below/it"),
        ("link/shop/below/it", "real/shop"),
        ("real/shop", "link"),
    ],
)
@pytest.mark.parametrize("many", [1, 20])
def test_a_target_inside_another_one_is_found_by_its_resolved_path(
    shops, application, tmp_path, stored, wanted, many
):
    (tmp_path / "real").mkdir()
    for name in ("link", "link2"):
        (tmp_path / name).symlink_to(tmp_path / "real")
    shops.store.put_applications([application("one", target=tmp_path / stored)])
    new = [application(f"two{number}") for number in range(many - 1)]
    with pytest.raises(ConfigurationError, match="'one' already has the target"):
        shops.store.put_applications([*new, application("two", target=tmp_path / wanted)])


def test_an_unknown_provider_is_reported_before_the_database_is_locked(
    shops, application, monkeypatch
):
    monkeypatch.setattr(shops.store._database, "writing", None)
    with pytest.raises(ConfigurationError, match="no provider 'nobody'"):
        shops.store.put_applications([application("two", provider="nobody")])


def test_each_provider_is_read_once_and_those_of_credentials_are_locked_in_one_order(
    shops, application, monkeypatch
):
    original, sent = StatementsOfEngine.run, []

    def run(self, name, /, **values):
        if name.startswith("provider"):
            sent.append((name, values["name"]))
        return original(self, name, **values)

    monkeypatch.setattr(StatementsOfEngine, "run", run)
    one = application("one").model_copy(update={"credentials": ("unknown", "acme")})
    with shops.store._database.writing() as connection:
        statements = StatementsOfEngine(connection)
        with pytest.raises(ConfigurationError, match="no provider 'unknown'"):
            refuse_unknown_providers(statements, [one], locked=True)
        refuse_unknown_providers(statements, [application("two")], locked=True)
    locked = [("provider, locked", "acme"), ("provider, locked", "unknown")]
    assert sent == [*locked, ("provider", "acme")]


def test_a_target_taken_concurrently_by_another_process_is_rejected(
    shops, application, monkeypatch
):
    original, taken = shops.store._database.writing, []

    def writing():
        if not taken:
            taken.append(True)
            shops.store.put_applications([application("one", target="/srv/taken")])
        return original()

    monkeypatch.setattr(shops.store._database, "writing", writing)
    with pytest.raises(ConfigurationError, match="already has the target"):
        shops.store.put_applications([application("two", target="/srv/taken")])


def test_a_similar_name_is_found_among_very_many(shops):
    with sent_statements() as seen, pytest.raises(ConfigurationError) as caught:
        shops.store.get_application("shop2999")
    assert "Did you mean" in caught.value.hint
    assert all("LIMIT" in each for each, _ in seen[2:] if each.startswith("SELECT"))


def test_one_application_is_written_without_reading_the_others(shops, application):
    with sent_statements() as seen:
        shops.store.add_application(application("one", target="/srv/of/one"))
        shops.apply([application("shop7", ref="other")])
    for statement, steps in plans(shops.store, seen).items():
        scanned = [step for step in steps if step.startswith("SCAN")]
        assert not [each for each in scanned if each.split(" ")[1] in _LARGE], statement
