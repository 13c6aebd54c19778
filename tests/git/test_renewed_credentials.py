"""A credential that expires or is replaced during a fetch does not interrupt the fetch."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from deploycore.errors import AuthenticationFailed, RemoteRefused
from deploycore.git import clone, export, resolve
from deploycore.git.credentials import Credentials
from deploycore.git.lfs.client import LfsClient
from deploycore.git.operation import Operation
from deploycore.git.progress import Cancellation, no_progress
from deploycore.models import CloneUrl, GitCredential
from tests.git.lfs_server import LfsServer
from tests.git.servers import GITLINK, nothing_left

OLD, NEW, NEWEST = "expired-1", "renewed-2", "renewed-3"


def credential(secret, **more):
    return GitCredential(username="ada", password=SecretStr(secret), **more)


def place(url, secret=OLD, **more):
    return CloneUrl(url=url, credential=credential(secret, **more))


class Issuer:
    """Gives the next credential, and sets what the server accepts."""

    def __init__(self, server, *secrets, **more):
        self.server, self.left, self.more = server, list(secrets), more
        self.asked = []
        self.accept(OLD)

    def accept(self, secret):
        self.server.credential = f"ada:{secret}"

    def __call__(self, rejected):
        self.asked.append(rejected.password.get_secret_value())
        if not self.left:
            return None
        return credential(self.left.pop(0), **self.more)


@pytest.fixture
def issuer(server):
    return Issuer(server, NEW)


@pytest.fixture
def shop(make):
    return make("shop", {"a.txt": b"1"})


def test_a_credential_rejected_on_first_use_is_replaced(issuer, shop, target, settings):
    issuer.accept(NEW)
    export(place(shop.url), "main", target, settings=settings, renew=issuer)
    assert (target / "a.txt").read_bytes() == b"1"
    assert issuer.asked == [OLD]


@pytest.mark.parametrize("operation", ["clone", "resolve"])
def test_clones_and_ref_lookups_renew_credentials(issuer, shop, target, settings, operation):
    issuer.accept(NEW)
    if operation == "clone":
        clone(place(shop.url), "main", target, settings=settings, renew=issuer)
    else:
        assert len(resolve(place(shop.url), "main", settings=settings, renew=issuer)) == 40
    assert issuer.asked == [OLD]


def test_a_credential_that_expires_between_two_requests_is_replaced(
    issuer, shop, server, target, settings
):
    def expire(environ, start_response):
        if environ["REQUEST_METHOD"] == "POST":
            issuer.accept(NEW)

    server.interfere = expire
    export(place(shop.url), "main", target, settings=settings, renew=issuer)
    assert (target / "a.txt").read_bytes() == b"1"
    assert issuer.asked == [OLD]


def test_a_credential_about_to_expire_is_replaced_before_use(
    issuer, shop, server, target, settings
):
    issuer.accept(NEW)
    soon = datetime.now(UTC) + timedelta(seconds=5)
    export(place(shop.url, expires_at=soon), "main", target, settings=settings, renew=issuer)
    assert issuer.asked == [OLD]
    assert len({authorization for _, _, authorization in server.requests}) == 1


def test_a_credential_that_is_not_about_to_expire_is_used_unchanged(issuer, shop, target, settings):
    later = datetime.now(UTC) + timedelta(hours=1)
    export(place(shop.url, expires_at=later), "main", target, settings=settings, renew=issuer)
    assert issuer.asked == []


def test_a_rejected_replacement_ends_the_export(issuer, shop, target, settings):
    issuer.accept("nobody has it")
    issuer.left = [NEW, NEWEST, *map(str, range(9))]
    with pytest.raises(RemoteRefused) as caught:
        export(place(shop.url), "main", target, settings=settings, renew=issuer)
    assert caught.value.details["status"] == 401
    assert issuer.asked == [OLD, NEW, NEWEST, "0", "1"]
    assert nothing_left(target)


@pytest.mark.parametrize("left", [[], [OLD]])
def test_without_a_replacement_the_rejection_is_reported(issuer, shop, target, settings, left):
    issuer.accept("nobody has it")
    issuer.left = left
    with pytest.raises(RemoteRefused) as caught:
        export(place(shop.url), "main", target, settings=settings, renew=issuer)
    assert caught.value.details["status"] == 401
    assert issuer.asked == [OLD]


def test_the_reason_for_a_missing_replacement_is_reported(server, shop, target, settings):
    server.credential = "ada:nobody has it"

    def refuse(rejected):
        raise AuthenticationFailed("The grant was revoked.", hint="Authorize it again.")

    with pytest.raises(AuthenticationFailed, match="revoked"):
        export(place(shop.url), "main", target, settings=settings, renew=refuse)
    assert nothing_left(target)


def test_submodules_use_the_replacement_credential(issuer, make, target, settings):
    inner = make("inner", {"b.txt": b"2"})
    modules = b'[submodule "in"]\n\tpath = in\n\turl = ../inner.git\n'
    commit = inner.repo.refs[b"refs/heads/main"]
    outer = make("outer", {".gitmodules": modules, "in": (GITLINK, commit)})
    issuer.accept(NEW)
    export(place(outer.url), "main", target, settings=settings, submodules=True, renew=issuer)
    assert (target / "in" / "b.txt").read_bytes() == b"2"
    assert issuer.asked == [OLD]


def test_a_credential_that_expires_before_the_submodule_is_replaced(
    issuer, make, server, target, settings
):
    inner = make("inner", {"b.txt": b"2"})
    modules = b'[submodule "in"]\n\tpath = in\n\turl = ../inner.git\n'
    commit = inner.repo.refs[b"refs/heads/main"]
    outer = make("outer", {".gitmodules": modules, "in": (GITLINK, commit)})

    def expire(environ, start_response):
        if "inner" in environ["PATH_INFO"]:
            issuer.accept(NEW)

    server.interfere = expire
    export(place(outer.url), "main", target, settings=settings, submodules=True, renew=issuer)
    assert (target / "in" / "b.txt").read_bytes() == b"2"


def test_a_bearer_credential_sends_the_token_alone(shop, server, target, settings):
    export(place(shop.url, scheme="bearer"), "main", target, settings=settings)
    assert {authorization for _, _, authorization in server.requests} == {f"Bearer {OLD}"}


class TestLfs:
    @pytest.fixture
    def lfs(self):
        running = LfsServer()
        yield running
        running.stop()

    @pytest.fixture
    def fetched(self, lfs, settings):
        """Downloads objects, and gives their contents."""

        def fetch(*pointers, renew=None, **more):
            operation = Operation(settings, no_progress, Cancellation(), renew=renew)
            found = {}

            class Sink:
                def __init__(self, pointer):
                    self.pointer, self.content = pointer, b""

                def __enter__(self):
                    return self

                def __exit__(self, kind, *rest):
                    if kind is None:
                        found[self.pointer.oid] = self.content

                def write(self, data):
                    self.content += data

            LfsClient(place(lfs.url, **more), operation).fetch(pointers, Sink)
            return list(found.values())

        return fetch

    def test_the_batch_request_is_repeated_with_the_replacement_credential(self, lfs, fetched):
        issuer = Issuer(lfs, NEW)
        issuer.accept(NEW)
        assert fetched(lfs.add(b"one"), renew=issuer) == [b"one"]
        assert issuer.asked == [OLD]

    def test_a_rejected_download_is_requested_again(self, lfs, fetched):
        issuer = Issuer(lfs, NEW)
        first, second = lfs.add(b"one"), lfs.add(b"two")

        def expire(handler):
            if handler.command == "GET" and handler.path.endswith(second.oid):
                issuer.accept(NEW)
                if handler.headers["Authorization"] == OLD_BASIC:
                    handler.give(401, b"")
                    return True
            return False

        OLD_BASIC = "Basic YWRhOmV4cGlyZWQtMQ=="  # noqa: N806
        lfs.interfere = expire
        assert fetched(first, second, renew=issuer) == [b"one", b"two"]
        assert issuer.asked == [OLD]

    def test_a_bearer_credential_sends_the_token_alone(self, lfs, fetched):
        fetched(lfs.add(b"one"), scheme="bearer")
        assert lfs.requests[0][2]["authorization"] == f"Bearer {OLD}"


def test_an_accepted_replacement_can_also_expire():
    first, second, third = map(credential, (OLD, NEW, NEWEST))
    issued = {first: second, second: third}
    known = Credentials(issued.get)
    assert known.replace(first)
    assert known.current(first) == second
    known.accept(second)
    assert known.replace(second)
    assert known.current(first) == known.current(second) == third
    assert known.current(None) is None
    assert not known.replace(None)
