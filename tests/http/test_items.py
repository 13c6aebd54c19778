"""Invalid items of a listing are skipped, counted and reported once, for every host."""

from __future__ import annotations

import dataclasses
import logging
import threading

import pytest
from deploycore_bitbucket.sandbox import Sandbox as BitbucketSandbox
from deploycore_bitbucket_datacenter.sandbox import BitbucketDataCenterSandbox
from deploycore_gitea.sandbox import GiteaSandbox
from deploycore_github.sandbox import GitHubSandbox
from deploycore_gitlab.sandbox import GitLabSandbox
from pydantic import SecretStr

from deploycore.errors import NotFound, UnexpectedAnswer
from deploycore.http import AnswerModel, HttpSettings, IncompleteItem, parse_answer, parse_items
from deploycore.http.tally import ItemTally
from deploycore.models import Branch, CommitHash, NonEmpty, RepositoryId
from deploycore.provider import open_provider, suggesting
from deploycore.provider.listings import Repeats
from deploycore.provider.suggesting import first_items
from deploycore.testing.faults import Fault, change_of_json
from deploycore.testing.scenarios import TWO, Access

SANDBOXES = {
    "bitbucket": BitbucketSandbox,
    "bitbucket-datacenter": BitbucketDataCenterSandbox,
    "gitea": GiteaSandbox,
    "github": GitHubSandbox,
    "gitlab": GitLabSandbox,
}
BROKEN = (None, {"x": "content-of-an-item"}, 7, [], "text", {"name": 7, "full_name": 7})
HASH = "e7d158ff7ed5538c28f94cd97a9ad569680fc94e"


class Row(AnswerModel):
    name: NonEmpty
    commit: CommitHash = HASH
    title: str = ""

    def branch(self):
        return Branch(name=self.name, commit=self.commit)


@pytest.fixture(params=sorted(SANDBOXES))
def host(request):
    with SANDBOXES[request.param]() as sandbox:
        yield request.param, sandbox


@pytest.fixture
def opened(host):
    kind, sandbox = host
    arranged = sandbox.arrange(TWO)
    connection = sandbox.connect(next(iter(sandbox.MODES)), Access.FULL)
    values = {"name": "work", **connection.settings}
    with open_provider(kind, values, http_settings=HttpSettings(retries=0)) as provider:
        yield provider, sandbox, arranged


def listed_as(change):
    """A fault that changes the list of each page, whichever shape the host's pages have."""

    def apply(page):
        if isinstance(page, list):
            return change(page)
        for key in ("values", "data", "repositories"):
            if isinstance(page.get(key), list):
                return {**page, key: change(page[key])}
        return page

    return Fault(change_of_json("another list", apply))


def among_broken(items):
    return [*BROKEN, *(each for item in items for each in (item, None))] if items else items


def warnings_of(caplog):
    return [each.getMessage() for each in caplog.records if each.name == "deploycore.http.tally"]


def test_an_unreadable_item_does_not_fail_a_listing(opened, caplog):
    provider, sandbox, arranged = opened
    repositories = [each.slug for each in provider.list_repos()]
    shop = RepositoryId(owner=arranged[0].owner, slug=arranged[0].slug)
    branches = sorted(each.name for each in provider.list_branches(shop))
    assert len(repositories) == 3
    assert len(branches) == 3
    sandbox.faults.add(listed_as(among_broken))
    assert [each.slug for each in provider.list_repos()] == repositories
    (said,) = warnings_of(caplog)
    assert "provider work: list_repos: 9 item(s)" in said
    assert "null in the place of an item" in said
    caplog.clear()
    assert sorted(each.name for each in provider.list_branches(shop)) == branches
    (said,) = warnings_of(caplog)
    assert "provider work: list_branches: 9 item(s)" in said
    assert "content-of-an-item" not in said


def test_webhooks_are_listed_and_registered_despite_unreadable_items(opened):
    provider, sandbox, arranged = opened
    shop = RepositoryId(owner=arranged[0].owner, slug=arranged[0].slug)
    secret, url = SecretStr("made-up-" + "0" * 32), "https://deploy.example/webhooks/1"
    first = provider.register_webhook(shop, url, secret)
    sandbox.faults.add(listed_as(among_broken))
    assert [each.id for each in provider.list_webhooks(shop)] == [first.id]
    again = provider.register_webhook(shop, url, secret)
    assert [each.id for each in provider.list_webhooks(shop)] == [again.id]


def test_a_listing_of_nulls_is_empty_and_an_invalid_listing_is_rejected(opened):
    provider, sandbox, _ = opened
    sandbox.faults.add(listed_as(lambda items: [None for _ in items]))
    assert list(provider.list_repos()) == []
    sandbox.faults.clear()
    sandbox.faults.add(listed_as(lambda items: [7 for _ in items]))
    with pytest.raises(UnexpectedAnswer, match="list_repos") as caught:
        list(provider.list_repos())
    assert caught.value.__cause__ is None


def test_a_branch_is_not_reported_missing_if_items_are_unreadable(opened, caplog):
    provider, sandbox, arranged = opened
    shop = RepositoryId(owner=arranged[0].owner, slug=arranged[0].slug)
    with pytest.raises(NotFound):
        provider.find_branch(shop, "gone")
    # Not on each page: Gitea's listings end with an empty one.
    fault = listed_as(lambda items: [{"name": 7}, *items])
    sandbox.faults.add(dataclasses.replace(fault, times=3))
    with pytest.raises((NotFound, UnexpectedAnswer)) as caught:
        provider.find_branch(shop, "gone")
    assert sandbox.request_count < 20
    # Others ask for the branch by its address.
    is_listed = provider.plugin.kind in ("bitbucket", "bitbucket-datacenter")
    assert isinstance(caught.value, UnexpectedAnswer) is is_listed
    if not is_listed:
        return
    sandbox.faults.clear()
    others = []
    sandbox.faults.add(listed_as(lambda items: others.extend(items) or items))
    known = next(iter(provider.list_branches(shop)))
    sandbox.faults.clear()
    sandbox.faults.add(listed_as(lambda items: [{"name": 7}, *others]))
    with pytest.raises(UnexpectedAnswer, match="was not found among the others") as caught:
        provider.find_branch(shop, "gone")
    assert "See the warning in the log for the reasons" in caught.value.hint
    missing = "id is missing" if provider.plugin.kind == "bitbucket-datacenter" else "name"
    assert [text for text in warnings_of(caplog) if missing in text]
    assert provider.find_branch(shop, known.name) == known


def test_an_error_on_the_last_page_does_not_lose_earlier_pages():
    tally = ItemTally("provider work: list_repos", is_listing=True)
    with tally.counting():
        assert parse_items(Row, [{"name": "shop"}], what="a page") == [Row(name="shop")]
        assert parse_items(Row, [{"name": 7}], what="a page") == []
    tally.check()
    only = ItemTally("provider work: list_repos", is_listing=True)
    with only.counting():
        parse_items(Row, [{"name": 7}, None], what="a page of rows")
        parse_items(Row, [], what="a page of rows")
    with pytest.raises(UnexpectedAnswer, match=r"a page of rows .*0\.name: it is not a text"):
        only.check()


def test_a_failed_conversion_skips_the_item(caplog):
    rows = [{"name": "a", "commit": HASH}, {"name": "b"}]

    def read(row):
        if row.name == "b":
            Branch(name="b", commit="made-up-content")
        return row.branch()

    found = parse_items(Row, rows, what="a page of rows", read=read)
    assert [each.name for each in found] == ["a"]
    (said,) = warnings_of(caplog)
    assert "1 × commit has an unexpected value" in said
    assert "made-up-content" not in said


def test_valid_items_without_required_data_are_not_an_error(caplog):
    def read(_):
        raise IncompleteItem("It has no name.", field="name")

    assert parse_items(object, [{}], what="a page of rows", read=read) == []
    assert "name is missing" in warnings_of(caplog)[0]


def test_lists_of_models_are_read_item_by_item(caplog):
    rows = [{"name": "a"}, None, {"name": 7}, {}, {"name": "b", "title": None}]
    assert parse_answer(list[Row], rows, what="a page") == [Row(name="a"), Row(name="b")]
    (record,) = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert "3 item(s)" in record.getMessage()


@pytest.mark.parametrize("page", [None, {}, "text", 7, {"name": "a"}])
def test_a_response_that_is_not_a_list_is_rejected(page):
    with pytest.raises(UnexpectedAnswer, match="the whole: it is not a list"):
        parse_items(Row, page, what="a page")


class Endless:
    """A host whose listing has a next page for ever, with the same or no items on each."""

    def __init__(self, items):
        self.items = items
        self.asked = 0
        self.ends = False

    def pages(self):
        while True:
            self.asked += 1
            yield self.items
            if self.ends:
                return


def listing_of(host):
    """Read the host's pages as a listing of a provider does."""
    tally = ItemTally("provider work: list_branches", is_listing=True)
    repeats = Repeats()
    with tally.counting():
        for page in host.pages():
            for item in parse_items(Row, page, what="a page of branches", read=Row.branch):
                repeats.has(item)
                tally.given(repeats.in_a_row)


@pytest.mark.parametrize(
    ("items", "said", "most"),
    [
        ([7], "has a valid item", 51),
        ([None], "has a valid item", 51),
        ([{"name": ""}] * 100, "has a valid item", 51),
        ([], "are empty", 1001),
        ([{"name": "main"}], "repeat earlier items", 102),
        ([{"name": "main"}, None, 7], "repeat earlier items", 102),
        ([{"name": f"b{number}"} for number in range(100)], "repeat earlier items", 52),
    ],
)
def test_a_listing_without_new_items_ends_after_few_pages(items, said, most):
    host = Endless(items)
    with pytest.raises(UnexpectedAnswer, match=f"does not end: .*{said}") as caught:
        listing_of(host)
    assert host.asked == most
    assert caught.value.hint.startswith("Try again later.")
    host.items, host.ends = [{"name": "main", "commit": HASH}], True
    listing_of(host)
    assert host.asked == most + 1


def test_empty_pages_between_others_do_not_end_a_listing():
    numbers = iter(range(10**6))

    def pages():
        for _ in range(3):
            yield from [[7]] * 50
            yield from [[]] * 500
            yield [{"name": f"b{next(numbers)}"}]

    tally = ItemTally(is_listing=True)
    with tally.counting():
        found = [each for page in pages() for each in parse_items(Row, page, what="a page")]
    assert len(found) == 3


@pytest.mark.parametrize("listed", [[7], [None], []], ids=str)
def test_a_suggestion_reads_few_pages_and_keeps_its_findings(listed):
    host = Endless(listed)

    def pages():
        tally = ItemTally(is_listing=True)
        yield "main"
        with tally.counting():
            for page in host.pages():
                yield from parse_items(Row, page, what="a page")

    assert first_items(pages) == ["main"]
    assert host.asked <= 6


def test_a_suggestion_does_not_wait_for_a_hanging_host(monkeypatch):
    monkeypatch.setattr(suggesting, "_SECONDS", 0.05)
    over = threading.Event()

    def pages():
        yield "main"
        over.wait(60)

    try:
        assert first_items(pages) == ["main"]
    finally:
        over.set()
