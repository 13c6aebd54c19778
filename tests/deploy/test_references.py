"""Deployments of a branch, a tag or a commit, and the cases in which there is nothing to deploy."""

from __future__ import annotations

import pytest

from deploycore.errors import NotFound, RemoteRefused


@pytest.fixture
def tag(demo_sandbox):
    """Puts a tag of ``acme/site`` at a commit."""

    def put(name: str, commit: str) -> None:
        demo_sandbox.add_tag("acme", "site", name, at=commit)

    return put


def test_a_full_hash_is_deployed(installation, create, publish, tag, target):
    create()
    commit = publish("two")
    tag("what-this-server-would-not-give-otherwise", commit)
    publish("three")
    create("pinned", ref=commit, target=target.parent / "pinned")
    done = installation.deploy("pinned")
    assert (done.commit, done.ref) == (commit, commit)
    assert (target.parent / "pinned" / "current" / "page").read_text() == "two"


def test_the_host_is_contacted_for_a_hash_even_if_it_is_cached(
    installation, create, publish, demo_sandbox, target
):
    """Who may no longer read the repository does not get it from here."""
    commit = publish("two")
    create(ref=commit)
    for _ in range(2):
        before = len(demo_sandbox.requests)
        installation.deploy("site", force=True)
        asked = [each.path for each in list(demo_sandbox.requests)[before:]]
        assert any("/acme/site.git/" in path for path in asked)


def test_a_tag_is_deployed_if_no_branch_has_its_name(installation, create, publish, tag, target):
    create(ref="v1")
    tag("v1", publish("tagged"))
    publish("newer")
    installation.deploy("site")
    assert (target / "current" / "page").read_text() == "tagged"


def test_a_full_ref_name_is_deployed(installation, create, publish, tag, target):
    create(ref="refs/tags/v1")
    tag("v1", publish("tagged"))
    publish("newer")
    installation.deploy("site")
    assert (target / "current" / "page").read_text() == "tagged"


def test_an_unknown_name_is_reported_with_the_error_of_the_host(installation, create, tmp_path):
    create(ref="gone")
    with pytest.raises(NotFound, match="no branch 'gone'"):
        installation.deploy("site")
    create("other", ref="refs/tags/gone", target=str(tmp_path / "never-made"))
    with pytest.raises(RemoteRefused, match="gone"):
        installation.deploy("other")


def test_the_live_commit_is_not_deployed_again(installation, create, publish):
    create()
    first = installation.deploy("site")
    again = installation.deploy("site")
    assert (first.state, again.state, again.release) == ("healthy", "skipped", None)
    assert (again.commit, len(installation.releases("site"))) == (first.commit, 1)
    (line,) = [each for each in installation.engine.logs.read("site", again.id) if each.text]
    assert line.text == f"commit {first.commit[:12]} is already live"
    publish("two")
    assert installation.deploy("site").state == "healthy"


def test_a_changed_application_is_deployed_again(installation, create):
    create()
    installation.deploy("site")
    changed = installation.store.get_application("site").definition.model_copy(update={"keep": 3})
    installation.apply([changed])
    assert installation.deploy("site").state == "healthy"


def test_a_forced_deployment_creates_a_new_release_of_the_same_commit(installation, create):
    create()
    one, other = installation.deploy("site"), installation.deploy("site", force=True)
    assert one.commit == other.commit
    assert one.release != other.release


@pytest.mark.parametrize(
    ("path", "deployed"),
    [
        ("src/a.py", True),
        ("src/deep/er/b.py", True),
        ("docs/readme.md", False),
        ("readme.md", False),
        ("package.json", True),
        ("deep/package.json", False),
        ("src/generated/x", False),
    ],
)
def test_only_changes_to_watched_paths_create_a_release(
    installation, create, publish, target, path, deployed
):
    create(watch=["src/", "/package.json", "!src/generated/"])
    installation.deploy("site")
    publish("one", **{path: b"changed"})
    done = installation.deploy("site")
    assert done.state == ("healthy" if deployed else "skipped")
    assert len(list((target / "releases").iterdir())) == 1 + deployed
