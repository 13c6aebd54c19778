"""What is valid by Bitbucket's published description of its API never fails a hook.

The description may not be distributed with deploycore. If it is missing, these tests are skipped.
"""

from __future__ import annotations

import json

import pytest
from deploycore_bitbucket import pagination, webhooks
from deploycore_bitbucket.answers import BranchAnswer, RepositoryAnswer, UserAnswer

from deploycore.http import IncompleteItem, parse_answer, parse_items
from deploycore.http.tally import ItemTally
from tests.described import Schemas
from tests.openapi import BESIDE_THE_REPOSITORY, VARIABLE, find_description

TEXTS = {
    "full_name": "acme/shop",
    "hash": "e7d158ff7ed5538c28f94cd97a9ad569680fc94e",
    "uuid": "{c0b1d2e3-0000-4000-8000-000000000000}",
    "href": "https://bitbucket.org/acme/shop",
}
SPARED = {"parent", "owner", "participants", "author", "committer", "parents", "summary"}
"""What is not read, and would multiply the answers."""


@pytest.fixture(scope="module")
def schemas():
    path = find_description()
    if path is None:
        pytest.skip(f"neither {VARIABLE} nor {BESIDE_THE_REPOSITORY} is there")
    description = json.loads(path.read_bytes())
    for schema in description["components"]["schemas"].values():
        for part in (schema, *schema.get("allOf", ())):
            for name in SPARED & part.get("properties", {}).keys():
                del part["properties"][name]
    return Schemas(description, TEXTS)


def read_repository(item):
    found = parse_answer(RepositoryAnswer, item, what="a repository")
    return found.repository("https://bitbucket.org")


def read_branch(item):
    return parse_answer(BranchAnswer, item, what="a branch").branch()


def read_account(item):
    return parse_answer(UserAnswer, item, what="the user").account()


READERS = {
    "paginated_repositories": (read_repository, "full_name"),
    "paginated_branches": (read_branch, "name"),
    "paginated_webhook_subscriptions": (webhooks.webhook_from, "uuid"),
}


@pytest.mark.parametrize("schema", sorted(READERS))
def test_every_valid_page_can_be_parsed(schemas, schema):
    read, needed = READERS[schema]
    found = []
    for answer in schemas.valid(schema):
        tally = ItemTally(is_listing=True)
        with tally.counting():
            values = pagination.Page.read(answer).values
            items = parse_items(object, values, what="a page", read=read)
        tally.check()
        assert not items or all(needed in value for value in values)
        found.append(len(items))
    assert {0, 1} == set(found)
    assert sum(found) > len(found) // 2


@pytest.mark.parametrize("schema", ["account", "user", "team"])
def test_every_valid_account_can_be_parsed(schemas, schema):
    accounts = list(map(read_account, schemas.valid(schema)))
    names = {account.username for account in accounts if account is not None}
    assert None in accounts
    assert names


def test_every_valid_repository_with_a_name_can_be_parsed(schemas):
    for answer in schemas.valid("repository"):
        try:
            found = read_repository(answer)
        except IncompleteItem:
            assert "full_name" not in answer
        else:
            assert found.slug == "shop"


def test_every_valid_registration_response_with_a_webhook_can_be_parsed(schemas):
    for answer in schemas.valid("webhook_subscription"):
        if "uuid" in answer:
            webhook = webhooks.webhook_from(answer, url="https://deploy.example/1")
            assert webhook.id == TEXTS["uuid"]
