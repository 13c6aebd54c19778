"""Errors of git and LFS servers become the right errors, with helpful hints."""

from __future__ import annotations

import pytest

from deploycore.deploy import fetch_hint
from deploycore.errors import GitError, RemoteRefused
from deploycore.git import export
from tests.git.servers import nothing_left, source
from tests.hostile.packs import TAG, Object, blob, commit, pack_of, tree
from tests.hostile.server import ADVERTISEMENT, FLUSH, Answer, HostileServer, line, lines

CONTENT = blob(b"1")
ROOT = tree((0o100644, b"a", CONTENT))
TIP = commit(ROOT)
MAIN = b"refs/heads/main"
SERVICE = line(b"# service=git-upload-pack\n")
OFFERED = b"shallow side-band-64k ofs-delta thin-pack"


@pytest.fixture
def hostile():
    running = HostileServer()
    running.script.serve(TIP, ROOT, CONTENT)
    yield running
    running.stop()


@pytest.fixture
def refused(hostile, target, settings):
    """Exports a ref, which must fail; gives the error."""

    def run(ref="main"):
        with pytest.raises(GitError) as caught:
            export(source(hostile.url), ref, target, settings=settings)
        assert nothing_left(target)
        assert caught.value.hint
        return caught.value

    return run


@pytest.fixture
def helps(hostile, target, settings):
    """Follows a hint about the server or the ref, and exports again."""

    def run(ref="main"):
        script = hostile.script
        script.discover = script.list_refs = script.fetch = None
        script.serve(TIP, ROOT, CONTENT)
        export(source(hostile.url), ref, target, settings=settings)
        assert (target / "a").read_bytes() == b"1"

    return run


def offers(capabilities):
    """Refs as protocol version 0 tells them."""
    first = TIP.name + b" HEAD\0" + capabilities + b"\n"
    body = SERVICE + FLUSH + lines(first, TIP.name + b" " + MAIN + b"\n")
    return lambda request: Answer(body, ADVERTISEMENT)


REFUSAL = line(b"ERR upload-pack: the repository is locked\n")


@pytest.mark.parametrize(
    "body",
    [REFUSAL, SERVICE + FLUSH + REFUSAL, SERVICE + REFUSAL, SERVICE + FLUSH + REFUSAL + FLUSH],
)
def test_an_error_in_place_of_refs_is_reported(hostile, refused, body, helps):
    hostile.script.discover = lambda request: Answer(body, ADVERTISEMENT)
    error = refused()
    assert isinstance(error, RemoteRefused)
    assert 'refused: "upload-pack: the repository is locked"' in error.message
    helps()


@pytest.mark.parametrize(
    "before", [b"", FLUSH, FLUSH + line(b"NAK\n"), line(b"shallow " + TIP.name) + FLUSH]
)
def test_an_error_in_place_of_the_pack_is_reported(hostile, refused, before):
    hostile.script.discover = offers(OFFERED)
    hostile.script.fetch = lambda request: Answer(before + REFUSAL)
    error = refused()
    assert isinstance(error, RemoteRefused)
    assert 'refused: "upload-pack: the repository is locked"' in error.message


@pytest.mark.parametrize(
    "discover",
    [
        offers(b"side-band-64k ofs-delta thin-pack"),
        lambda request: Answer(lines(b"version 2\n", b"ls-refs\n", b"fetch\n"), ADVERTISEMENT),
        lambda request: Answer(
            lines(b"version 2\n", b"ls-refs\n", b"fetch=filter\n"), ADVERTISEMENT
        ),
    ],
)
def test_a_server_without_shallow_fetch_is_reported(hostile, refused, discover, helps):
    hostile.script.discover = discover
    assert "does not support shallow fetches" in refused().message
    helps()


@pytest.mark.parametrize("body", [FLUSH, lines(b"0" * 40 + b" capabilities^{}\0" + OFFERED)])
def test_an_empty_repository_is_reported_as_empty(hostile, refused, body, helps):
    hostile.script.discover = lambda request: Answer(SERVICE + FLUSH + body, ADVERTISEMENT)
    error = refused()
    assert "'main': it is empty" in error.message
    assert error.hint == "Push a first commit to it."
    helps()


def test_a_misspelled_branch_is_not_reported_as_an_empty_repository(hostile, refused):
    """In version 2, a server whose HEAD is unborn tells nothing of the other branches."""
    hostile.script.list_refs = lambda request: Answer(FLUSH)
    error = refused("mian")
    assert error.message.endswith("has no branch or tag 'mian'.")
    assert "Check the name" in error.hint


def test_a_misspelled_branch_is_reported_with_protocol_version_0(hostile, refused):
    hostile.script.discover = offers(OFFERED)
    error = refused("mian")
    assert error.message.endswith("has no branch or tag 'mian'.")
    assert error.hint.startswith("Check the name")


def a_tag_of(kind, each):
    return Object(TAG, b"object " + each.name + b"\ntype " + kind + b"\ntag v1\n\nv1\n")


TAG_OF_TREE = a_tag_of(b"tree", ROOT)


@pytest.mark.parametrize(
    ("tip", "kind"),
    [
        (TAG_OF_TREE, "directory"),
        (a_tag_of(b"tag", TAG_OF_TREE), "directory"),
        (a_tag_of(b"blob", CONTENT), "file"),
        (ROOT, "directory"),
        (CONTENT, "file"),
    ],
)
def test_a_tag_that_does_not_point_to_a_commit_is_reported(hostile, refused, tip, kind, helps):
    hostile.script.serve_pack(TIP, pack_of(*dict.fromkeys((tip, TAG_OF_TREE, ROOT, CONTENT))))
    hostile.script.refs = [(TIP.name, MAIN), (tip.name, b"refs/tags/v1")]
    error = refused("v1")
    assert f"'v1' of {hostile.url} names a {kind}" in error.message
    assert "fsck" not in error.hint
    helps()


def test_nested_tags_are_followed(hostile, target, settings):
    tags = [a_tag_of(b"commit", TIP)]
    for _ in range(20):
        tags.append(a_tag_of(b"tag", tags[-1]))
    hostile.script.serve_pack(TIP, pack_of(*tags, TIP, ROOT, CONTENT))
    hostile.script.refs = [(TIP.name, MAIN), (tags[-1].name, b"refs/tags/v1")]
    done = export(source(hostile.url), "v1", target, settings=settings)
    assert done.commit == TIP.name.decode()


class Provider:
    """Knows what to do about everything."""

    def explain_git_refusal(self, status, message):
        return "Check the name of the repository."

    def explain_rejection(self, error):
        """Say nothing of stored credentials."""


@pytest.mark.parametrize("details", [{"oid": "1" * 64}, {"service": "lfs"}, {"submodule": "lib"}])
def test_the_provider_is_not_consulted_about_other_urls(details):
    error = RemoteRefused("It was refused.", hint="Push it again.", status=404, **details)
    fetch_hint(Provider(), error)
    assert error.hint == "Push it again."


def test_the_provider_explains_errors_of_its_repository():
    error = RemoteRefused("It was refused.", hint="Check the address.", status=404)
    fetch_hint(Provider(), error)
    assert error.hint == "Check the name of the repository."


@pytest.mark.parametrize("tip", [b" HEAD\n", b" HEAD symref-target:refs/tags/v1\n"])
def test_a_server_that_does_not_name_its_default_branch_is_reported(hostile, refused, helps, tip):
    hostile.script.list_refs = lambda request: Answer(lines(TIP.name + tip))
    error = refused(None)
    assert "does not name its default branch" in error.message
    assert error.hint == "Specify a branch."
    helps("main")


def test_an_unsupported_object_format_is_reported(hostile, refused, helps):
    hostile.script.object_format = b"sha512"
    error = refused()
    assert "the object format 'sha512', which is not supported" in error.message
    assert error.hint == "Deploy from a repository with the object format sha1 or sha256."
    hostile.script.object_format = b"sha1"
    helps()
