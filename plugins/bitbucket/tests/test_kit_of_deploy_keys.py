"""The kit's checks of deploy keys fail for a plugin that is wrong, and say why."""

from __future__ import annotations

import pytest

from deploycore.testing.contract.deploy_keys import DeployKeys
from tests.testing.kit import run_broken

MODULE = """
from deploycore.errors import DeploycoreError, NotFound, PermissionDenied
from deploycore.hookspecs import hookimpl
from deploycore_bitbucket import BitbucketProvider as Right, deploy_keys, sandbox
from deploycore_bitbucket.contract import BitbucketContract

{change}

class TestBroken(BitbucketContract):
    pass
"""

ADDS_BLINDLY = """
deploy_keys.listed = lambda http, repository: iter(())
"""
MAY_WRITE = """
from deploycore.testing.deploy_keys import DeployKeys
right = DeployKeys.add
DeployKeys.add = lambda self, *given, **more: right(self, *given, **{**more, "read_only": False})
"""
REMOVES_ANOTHER = """
right = deploy_keys.remove
deploy_keys.remove = lambda http, repository, key_id: right(http, repository, str(int(key_id) + 1))
"""
FIRST_PAGE = """
from itertools import islice
right = deploy_keys.listed
deploy_keys.listed = lambda http, repository: islice(right(http, repository), 5)
"""
NOTHING_IS_NOT_FOUND = """
right = deploy_keys.listed
def listed(http, repository):
    try:
        yield from right(http, repository)
    except NotFound:
        return
deploy_keys.listed = listed
"""
SWALLOWS = """
right = deploy_keys.remove
def remove(http, repository, key_id):
    try:
        return right(http, repository, key_id)
    except DeploycoreError:
        return False
deploy_keys.remove = remove
"""
A_PATH = """
Right.deploy_keys_page = hookimpl(lambda self, repository: f"{repository}/keys")
"""
WRONG = {
    "blind": (ADDS_BLINDLY, "test_a_deploy_key_is_registered_once_and_may_only_read"),
    "writing": (MAY_WRITE, "test_a_deploy_key_is_registered_once_and_may_only_read"),
    "another": (
        REMOVES_ANOTHER,
        "test_deploy_keys_are_listed_and_removed_by_their_identifiers",
    ),
    "first-page": (FIRST_PAGE, "test_deploy_keys_of_later_pages_are_known"),
    "nothing": (
        NOTHING_IS_NOT_FOUND,
        "test_deploy_keys_of_a_repository_that_is_not_there_are_not_found",
    ),
    "swallows": (SWALLOWS, "test_what_goes_wrong_with_deploy_keys_is_a_typed_error"),
    "path": (A_PATH, "test_the_page_of_deploy_keys_is_an_address_without_a_request"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_an_incorrect_plugin_is_detected(name, tmp_path):
    change, check = WRONG[name]
    done = run_broken(tmp_path, MODULE.replace("{change}", change), [check])
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert "The contract requires" in said, said


def test_each_check_detects_something():
    checks = {name for name in vars(DeployKeys) if name.startswith("test_")}
    assert {check for _, check in WRONG.values()} == checks
