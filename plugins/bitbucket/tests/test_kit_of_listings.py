"""The kit's checks of optional listings fail for a plugin that is wrong, and say why."""

from __future__ import annotations

import pytest

from deploycore.testing.contract.optional_listings import OptionalListings
from tests.testing.kit import run_broken

MODULE = """
from deploycore.errors import DeploycoreError, NotFound
from deploycore.hookspecs import hookimpl
from deploycore_bitbucket import BitbucketProvider as Right, answers
from deploycore_bitbucket.contract import BitbucketContract

{change}

class TestBroken(BitbucketContract):
    pass
"""

WITH_A_RIVAL = """
from itertools import chain
from deploycore.models import Owner
right = Right.list_owners
Right.list_owners = hookimpl(
    lambda self, query: chain(right(self, query), [Owner(username="rival")])
)
"""
OWNERS_BY_UUID = """
from deploycore.models import Owner
answers.WorkspaceAccessAnswer.owner = lambda self: Owner(username="{acme}")
"""
OWNERS_HAVE_NO_FILTER = """
from deploycore.models import OwnerQuery
OwnerQuery.wants = lambda self, owner: True
"""
FIRST_PAGE = """
from itertools import islice
right = Right.{hook}
Right.{hook} = hookimpl(
    lambda self, repository, query: islice(right(self, repository, query), 5)
)
"""
TAGS_HAVE_NO_EXACT_NAME = """
from deploycore.models import TagQuery
TagQuery.wants = lambda self, tag: True
right = Right.list_tags
Right.list_tags = hookimpl(lambda self, repository, query: right(
    self, repository, TagQuery(name_contains=query.name or query.name_contains)
))
"""
LIMIT_BEFORE_FILTER = """
from itertools import islice
from deploycore.models import TagQuery
right = Right.list_tags
Right.list_tags = hookimpl(lambda self, repository, query: islice(
    right(self, repository, TagQuery()), query.limit or 3
))
"""
ALWAYS_OPEN = """
answers._STATES.update(dict.fromkeys(answers._STATES, "open"))
"""
BRANCHES_ARE_SWAPPED = """
right = answers.PullRequestAnswer.pull_request
def pull_request(self):
    found = right(self)
    return found.model_copy(update={
        "source_branch": found.target_branch, "target_branch": found.source_branch
    })
answers.PullRequestAnswer.pull_request = pull_request
"""
NOTHING_IS_NOT_FOUND = """
right = Right.{hook}
@hookimpl
def listing(self, repository, query):
    try:
        yield from right(self, repository, query)
    except NotFound:
        return
Right.{hook} = listing
"""
EAGER = """
right = Right.{hook}
Right.{hook} = hookimpl(
    lambda self, repository, query: iter(list(right(self, repository, query)))
)
"""
SWALLOWS = """
right = Right.{hook}
@hookimpl
def listing(self, repository, query):
    try:
        yield from right(self, repository, query)
    except DeploycoreError:
        return
Right.{hook} = listing
"""
OWNERS_SWALLOW = """
right = Right.list_owners
@hookimpl
def list_owners(self, query):
    try:
        yield from right(self, query)
    except DeploycoreError:
        return
Right.list_owners = list_owners
"""
TAGS, PULLS = "list_tags", "list_pull_requests"
WRONG = {
    "rival": (WITH_A_RIVAL, "test_owners_are_those_whose_repositories_can_be_listed"),
    "owners-by-uuid": (OWNERS_BY_UUID, "test_owners_are_those_whose_repositories_can_be_listed"),
    "owners-without-filter": (OWNERS_HAVE_NO_FILTER, "test_owners_can_be_filtered"),
    "tags-of-the-first-page": (
        FIRST_PAGE.replace("{hook}", TAGS),
        "test_tags_of_all_pages_are_listed_with_their_commits",
    ),
    "tags-by-a-part": (TAGS_HAVE_NO_EXACT_NAME, "test_a_tag_is_found_by_its_exact_name"),
    "limit-before-filter": (LIMIT_BEFORE_FILTER, "test_tags_can_be_filtered_and_limited"),
    "pull-requests-of-the-first-page": (
        FIRST_PAGE.replace("{hook}", PULLS),
        "test_open_pull_requests_of_all_pages_are_listed",
    ),
    "swapped": (BRANCHES_ARE_SWAPPED, "test_open_pull_requests_of_all_pages_are_listed"),
    "always-open": (
        ALWAYS_OPEN,
        "test_a_pull_request_is_found_by_its_number_with_its_state",
    ),
    "tags-of-nothing": (
        NOTHING_IS_NOT_FOUND.replace("{hook}", TAGS),
        "test_optional_listings_of_an_unknown_repository_are_not_found",
    ),
    "pull-requests-of-nothing": (
        NOTHING_IS_NOT_FOUND.replace("{hook}", PULLS),
        "test_optional_listings_of_an_unknown_repository_are_not_found",
    ),
    "eager": (EAGER.replace("{hook}", TAGS), "test_optional_listings_are_lazy"),
    "owners-swallow": (
        OWNERS_SWALLOW,
        "test_what_goes_wrong_in_an_optional_listing_is_a_typed_error",
    ),
    "pull-requests-swallow": (
        SWALLOWS.replace("{hook}", PULLS),
        "test_what_goes_wrong_in_an_optional_listing_is_a_typed_error",
    ),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_an_incorrect_plugin_is_detected(name, tmp_path):
    change, check = WRONG[name]
    done = run_broken(tmp_path, MODULE.replace("{change}", change), [check])
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "The contract requires" in said or "AssertionError" in said, said


def test_each_check_detects_something():
    checks = {name for name in vars(OptionalListings) if name.startswith("test_")}
    assert {check for _, check in WRONG.values()} == checks
