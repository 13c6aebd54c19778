"""Prediction never changes the items of a listing, only the time of the requests."""

from __future__ import annotations

import json
import threading
import tracemalloc
from contextlib import closing
from itertools import islice

import pytest
from deploycore_bitbucket.pagination import Page, items, pages, predicted_links
from hypothesis import example, given
from hypothesis import strategies as st

from deploycore.errors import ProviderUnavailable, RateLimited, UnexpectedAnswer

START = "/repositories/acme"
API = "https://api.bitbucket.org/2.0/repositories/acme"
PARAMS = {"pagelen": 2}


def link_to(number):
    return f"{API}?pagelen=2&page={number}"


class ChainServer:
    """A server that responds to links from a table, counts requests, and can delay responses."""

    def __init__(self, answers):
        self.answers = answers
        self.asked = []
        self.sequential = []
        self.at_once = 0
        self.most_at_once = 0
        self.lock = threading.Lock()
        self.barrier = None

    def get_json(self, url, *, params=None):
        with self.lock:
            self.asked.append(url)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.barrier is not None and url != START:
                self.barrier.wait(timeout=5)
            answer = self.answers[url]
            if isinstance(answer, Exception):
                raise answer
            return answer
        finally:
            with self.lock:
                self.at_once -= 1

    def pages(self, url, *, params=None, next_url):
        while url is not None:
            self.sequential.append(url)
            answer = self.get_json(url)
            yield answer
            url = next_url(answer)


def listing(sizes, *, size=None, pagelen=2):
    """The answers of a list-based collection whose pages hold that many items each."""
    answers = {}
    given_out = 0
    for number, count in enumerate(sizes, start=1):
        url = START if number == 1 else link_to(number)
        values = list(range(given_out, given_out + count))
        given_out += count
        answers[url] = {"values": values, "page": number, "pagelen": pagelen}
        if number < len(sizes):
            answers[url]["next"] = link_to(number + 1)
    for answer in answers.values():
        answer["size"] = given_out if size is None else size
    return answers


def read(server, *, prefetch=4, wanted=None):
    return pages(server, START, params=PARAMS, prefetch=prefetch, wanted=wanted)


def values(server, **options):
    return [value for page in read(server, **options) for value in page.values]


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("bitbucket-")]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert threads() == []


def test_pages_arrive_in_order_and_each_is_requested_once():
    server = ChainServer(listing([2, 2, 2, 2, 2, 1]))
    assert values(server) == list(range(11))
    assert sorted(server.asked) == sorted(server.answers)
    assert server.sequential == []


def test_as_many_pages_as_configured_are_fetched_at_once():
    server = ChainServer(listing([2] * 9))
    server.barrier = threading.Barrier(4)  # opens only for four at once
    assert values(server, prefetch=4) == list(range(18))
    assert server.most_at_once == 4


@pytest.mark.parametrize("prefetch", [0, 1])
def test_prefetching_can_be_disabled(prefetch):
    server = ChainServer(listing([2, 2, 2]))
    assert values(server, prefetch=prefetch) == list(range(6))
    assert server.sequential == [link_to(2), link_to(3)]


def test_no_request_is_sent_before_the_first_page_is_read():
    server = ChainServer(listing([2, 2, 2]))
    read(server)
    assert server.asked == []


def test_no_page_is_prefetched_while_the_first_page_is_enough():
    server = ChainServer(listing([2, 2, 2]))
    with closing(read(server)) as chain:
        assert next(chain).values == [0, 1]
        assert server.asked == [START]


def test_a_reader_that_stops_early_leaves_no_thread_and_few_requests():
    server = ChainServer(listing([2] * 50))
    with closing(read(server, prefetch=4)) as chain:
        assert [page.values[0] for page in islice(chain, 3)] == [0, 2, 4]
    assert threads() == []
    asked = len(server.asked)
    assert asked <= 3 + 5
    assert len(server.asked) == asked


def test_a_limit_stops_prefetching_at_the_last_page_needed():
    server = ChainServer(listing([2] * 50))
    with closing(read(server, prefetch=8, wanted=5)) as chain:
        assert [page.values[0] for page in islice(chain, 3)] == [0, 2, 4]
    assert sorted(server.asked) == sorted([START, link_to(2), link_to(3)])


def test_a_reader_that_exceeds_the_limit_gets_pages_one_at_a_time():
    server = ChainServer(listing([2] * 5))
    assert values(server, wanted=4) == list(range(10))
    assert server.sequential == [link_to(3), link_to(4), link_to(5)]


def test_no_request_is_sent_after_the_last_page():
    server = ChainServer(listing([2, 2, 1]))
    assert values(server, prefetch=8) == list(range(5))
    assert len(server.asked) == 3


@pytest.mark.parametrize("end", [{}, {"next": None}, {"next": ""}])
def test_a_missing_null_or_empty_link_ends_the_listing(end):
    server = ChainServer({START: {"values": [1], **end}})
    assert values(server) == [1]


def test_a_listing_may_be_empty():
    server = ChainServer({START: {"values": [], "size": 0, "page": 1, "pagelen": 100}})
    assert values(server) == []


@pytest.mark.parametrize("missing", ["size", "page", "pagelen"])
def test_a_collection_without_random_access_is_read_page_by_page(missing):
    answers = listing([2, 2, 2])
    del answers[START][missing]
    server = ChainServer(answers)
    assert values(server) == list(range(6))
    assert server.sequential == [link_to(2), link_to(3)]


@pytest.mark.parametrize(
    "link",
    [
        f"{API}?ctx=8f3ab1",  # iterator-based: a hash
        f"{API}?page=2&page=2",
        f"{API}?page=3",
        f"{API}?page=02",
        f"{API}?page=2#page=2",
        f"{API}?homepage=2",
        f"{API}/page=2",
        f"{API}?q=name%3D%22%26page%3D2%22",
        f"{API}?page=-2",
        f"{API}?page=",
    ],
)
def test_no_link_is_predicted_from_an_unknown_link_format(link):
    page = Page(values=[1, 2], next=link, size=10, page=1, pagelen=2)
    assert list(predicted_links(page)) == []


def test_a_predicted_link_only_differs_in_the_page_number():
    link = f"{API}?fields=next%2Cvalues.name&page=2&q=name+~+%22page%3D2%22&pagelen=2"
    page = Page(values=[1, 2], next=link, size=7, page=1, pagelen=2)
    assert list(predicted_links(page)) == [
        link,
        link.replace("&page=2", "&page=3"),
        link.replace("&page=2", "&page=4"),
    ]


def test_an_unexpected_link_discards_prefetched_pages():
    answers = listing([2] * 6)
    elsewhere = f"{API}?page=3&pagelen=2"  # the same page, written in another way
    answers[link_to(2)]["next"] = elsewhere
    answers[elsewhere] = {"values": ["other"], "next": f"{API}?cursor=z"}
    answers[f"{API}?cursor=z"] = {"values": ["last"]}
    server = ChainServer(answers)
    assert values(server) == [0, 1, 2, 3, "other", "last"]
    assert server.sequential == [elsewhere, f"{API}?cursor=z"]


def test_a_listing_shorter_than_its_stated_size_ends_early():
    answers = listing([2, 2, 2, 2], size=100)
    del answers[link_to(2)]["next"]
    server = ChainServer({link_to(number): {"values": ["past"]} for number in range(90)} | answers)
    assert values(server) == [0, 1, 2, 3]


def test_a_listing_longer_than_its_stated_size_is_read_to_its_end():
    server = ChainServer(listing([2, 2, 2, 2], size=4))
    assert values(server) == list(range(8))
    assert server.sequential == [link_to(3), link_to(4)]


def test_an_error_of_an_unneeded_page_is_ignored():
    answers = listing([2, 2, 2, 2])
    answers[link_to(3)] = ProviderUnavailable("down")
    del answers[link_to(2)]["next"]
    assert values(ChainServer(answers)) == [0, 1, 2, 3]


def test_an_error_of_a_page_is_raised_when_that_page_is_read():
    answers = listing([2, 2, 2, 2])
    answers[link_to(3)] = ProviderUnavailable("down")
    seen = []
    with pytest.raises(ProviderUnavailable, match="down"):
        seen.extend(page.values for page in read(ChainServer(answers)))
    assert threads() == []


def test_pages_before_a_failed_one_are_returned():
    answers = listing([2, 2, 2, 2])
    answers[link_to(3)] = ProviderUnavailable("down")
    chain = read(ChainServer(answers))
    assert [page.values for page in islice(chain, 2)] == [[0, 1], [2, 3]]
    with pytest.raises(ProviderUnavailable):
        next(chain)


def test_a_rate_limit_during_prefetching_switches_to_page_by_page():
    class LimitedServer(ChainServer):
        def get_json(self, url, *, params=None):
            if url == link_to(3) and self.sequential == []:
                raise RateLimited("too many")
            return super().get_json(url, params=params)

    server = LimitedServer(listing([2] * 6))
    assert values(server) == list(range(12))
    assert server.sequential == [link_to(number) for number in (3, 4, 5, 6)]


def test_a_lasting_rate_limit_is_an_error():
    answers = listing([2] * 4)
    answers[link_to(2)] = RateLimited("too many")
    with pytest.raises(RateLimited):
        values(ChainServer(answers))


@pytest.mark.parametrize("answer", [{}, {"values": None}, {"size": 0, "page": 1, "pagelen": 10}])
def test_a_page_without_values_is_empty(answer):
    assert values(ChainServer({START: answer})) == []
    more = {START: {**answer, "next": link_to(2)}, link_to(2): {"values": [1]}}
    assert values(ChainServer(more)) == [1]


@pytest.mark.parametrize(
    "answer",
    [None, [], "text", {"values": {}}, {"values": "text"}, {"values": [], "next": 7}],
)
def test_an_invalid_page_is_rejected(answer):
    with pytest.raises(UnexpectedAnswer, match="not a page"):
        values(ChainServer({START: answer}))
    second = {START: {"values": [1], "next": link_to(2)}, link_to(2): answer}
    with pytest.raises(UnexpectedAnswer, match="not a page"):
        values(ChainServer(second))


@pytest.mark.parametrize("nonsense", ["12", -3, 1.5, True, None, [], 10**30])
@pytest.mark.parametrize("field", ["size", "page", "pagelen"])
def test_invalid_optional_page_fields_are_harmless(field, nonsense):
    answers = listing([2, 2, 2])
    answers[START][field] = nonsense
    past = {link_to(number): {"values": ["past"]} for number in range(20)}
    assert values(ChainServer(past | answers)) == list(range(6))


class EndlessServer(ChainServer):
    """A server that creates pages when they are requested, so that it needs little memory."""

    def __init__(self, page_count):
        super().__init__({})
        self.page_count = page_count

    def get_json(self, url, *, params=None):
        number = 1 if url == START else int(url.rpartition("=")[2])
        size = 100 * self.page_count
        values = [f"item {100 * number + place} {'x' * 200}" for place in range(100)]
        following = link_to(number + 1) if number < self.page_count else None
        page = {"values": values, "next": following, "size": size, "page": number, "pagelen": 100}
        return json.loads(json.dumps(page))


def peak_memory_of(page_count):
    tracemalloc.start()
    try:
        source = read(EndlessServer(page_count), prefetch=8)
        count = sum(1 for _ in items(source, str, str, what="a page"))
        return count, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_length_of_a_listing():
    short_count, short = peak_memory_of(30)
    long_count, long = peak_memory_of(240)
    assert (short_count, long_count) == (3_000, 24_000)
    assert long < 2 * short


def test_closing_the_items_closes_the_pages():
    server = ChainServer(listing([2] * 20))
    found = items(read(server), int, int, what="a page")
    assert list(islice(found, 3)) == [0, 1, 2]
    assert threads() != []
    found.close()
    assert threads() == []


# Servers of any behaviour: each page's link is as predicted, written in another way, opaque, or
# missing; sizes are true or false. What comes out must be what the chain alone gives.

links = st.sampled_from(["predicted", "predicted", "predicted", "rewritten", "opaque", "end"])


@st.composite
def servers(draw):
    count = draw(st.integers(1, 12))
    answers = {link_to(number): {"values": [f"decoy {number}"]} for number in range(40)}
    url = START
    for number in range(1, count + 1):
        kind = draw(links) if number < count else "end"
        following = {
            "predicted": link_to(number + 1),
            "rewritten": f"{API}?page={number + 1}&pagelen=2&x={number}",
            "opaque": f"{API}?cursor={number}",
            "end": None,
        }[kind]
        answers[url] = {
            "values": [2 * number, 2 * number + 1],
            "size": draw(st.sampled_from([2 * count, 2 * count, 0, 1, 70])),
            "page": draw(st.sampled_from([number, number, number, number + 1, 1])),
            "pagelen": 2,
            "next": following,
        }
        url = following
        if url is None:
            break
    return answers


def chain_of(answers):
    url = START
    while url:
        yield from answers[url]["values"]
        url = answers[url].get("next")


@given(servers(), st.integers(0, 6), st.none() | st.integers(1, 30))
@example(listing([2] * 12), 6, None)
def test_prefetching_returns_the_same_items_as_following_links(answers, prefetch, wanted):
    server = ChainServer(answers)
    assert values(server, prefetch=prefetch, wanted=wanted) == list(chain_of(answers))
    assert server.most_at_once <= max(prefetch, 1)
    assert threads() == []
