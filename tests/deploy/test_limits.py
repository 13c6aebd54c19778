"""A git limit that was exceeded can be raised in the application, as the hint says."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
from deploycore_bitbucket.sandbox import Symlink

from deploycore.applications.application import Limits
from deploycore.errors import LimitExceeded
from deploycore.git import GitSettings


def test_each_git_limit_is_an_application_setting():
    settings = {field.name.removeprefix("max_") for field in fields(GitSettings)}
    assert set(Limits.model_fields) <= settings
    assert {field.name for field in fields(GitSettings) if field.name.startswith("max_")} == {
        f"max_{name}" for name in Limits.model_fields
    }


@pytest.mark.parametrize(
    "limit",
    [
        "files",
        "path_depth",
        "objects",
        "pack_bytes",
        "object_bytes",
        "checkout_bytes",
        "tree_bytes",
        "held_bytes",
    ],
)
def test_following_the_hint_raises_the_limit(installation, create, demo_sandbox, target, limit):
    create(limits={limit: 1})
    files = {"a/b/c": b"12", "link": Symlink("a")}
    demo_sandbox.commit("acme", "site", "main", files, "Some files")
    with pytest.raises(LimitExceeded) as caught:
        installation.deploy("site")
    [name] = re.findall(r"set limits: \{(\w+): NUMBER\} for the application", caught.value.hint)
    assert name == limit
    definition = installation.store.get_application("site").definition
    enough = 1000 if limit == "path_depth" else 10**9
    raised = definition.model_copy(update={"limits": Limits(**{limit: enough})})
    installation.apply([raised])
    installation.deploy("site")
    assert (target / "current/a/b/c").read_bytes() == b"12"
