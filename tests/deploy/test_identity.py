"""A renamed repository is still deployed; another repository with its old name is not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deploycore.applications.application import Application
from deploycore.deploy import confirm_repository
from deploycore.errors import NotFound, PermissionDenied, ProviderUnavailable, RepositoryReplaced
from deploycore.models import Owner, Repository, RepositoryId
from deploycore.settings import Settings
from deploycore.store import ProviderRecord, Store


class Host:
    """Has repositories by name: ``{"acme/shop": ("17", "acme/store")}``; errors are raised."""

    def __init__(self, **found):
        self.found = found
        self.asked = []

    def supports(self, hook: str) -> bool:
        return hook == "find_repository" and None not in self.found.values()

    def find_repository(self, repository: RepositoryId):
        self.asked.append(str(repository))
        found = self.found.get(str(repository), NotFound("It is not there."))
        if isinstance(found, Exception):
            raise found
        host_id, name = found
        owner, _, slug = name.rpartition("/")
        return Repository(
            name=slug,
            slug=slug,
            url=f"https://git.example.com/{name}",
            owner=Owner(username=owner),
            host_id=host_id,
        )


@pytest.fixture
def store(home):
    settings = Settings.from_environment({"DEPLOYCORE_HOME": str(home)})
    with Store(settings) as store:
        store.add_provider(ProviderRecord("work", "acme", {}, {}, datetime.now(UTC)))
        store.add_application(
            Application(
                name="shop", provider="work", repository="acme/shop", ref="main", target="/srv/shop"
            )
        )
        yield store


@pytest.fixture
def confirm(store):
    def confirm(**found):
        application = store.get_application("shop")
        host = Host(**{name.replace("__", "/"): each for name, each in found.items()})
        confirm.asked = host.asked
        return confirm_repository(store, host, application).definition.repository

    return confirm


@pytest.fixture
def known(store):
    return lambda: store.repositories.find(store.get_application("shop").definition)


def test_the_identifier_is_stored_once_on_first_use(confirm, known, store, monkeypatch):
    assert confirm(acme__shop=("17", "Acme/Shop")) == "acme/shop"
    assert known().host_id == "17"
    monkeypatch.setattr(store.repositories, "learn", None)
    assert confirm(acme__shop=("17", "acme/shop")) == "acme/shop"


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("name", ["acme/store", "guild/shop", "guild/nested/store"])
def test_a_redirect_of_the_host_is_followed_and_reported_once(
    confirm, known, caplog, name, is_known
):
    if is_known:
        confirm(acme__shop=("17", "acme/shop"))
    assert confirm(acme__shop=("17", name)) == name
    assert confirm(**{name.replace("/", "__"): ("17", name)}) == name
    assert len([text for text in caplog.messages if "acme/shop" in text]) == 1
    assert known().former_names == ("acme/shop",)


@pytest.mark.parametrize("name", ["acme/shop", "acme/store"])
def test_another_repository_under_the_same_name_is_rejected_and_recorded(
    confirm, known, store, name
):
    confirm(acme__shop=("17", "acme/shop"))
    with pytest.raises(
        RepositoryReplaced, match="acme/shop now belongs to another repository than"
    ) as caught:
        confirm(acme__shop=("18", name))
    assert "deploycore app accept-repository shop" in caught.value.hint
    assert (known().host_id, known().other_host_id) == ("17", "18")
    assert confirm(acme__shop=("17", "acme/shop")) == "acme/shop"
    assert known().other_host_id is None
    store.repositories.forget("shop")  # as accept-repository does
    assert confirm(acme__shop=("18", name)) == name


def test_the_identifier_of_an_accepted_repository_is_stored_again(confirm, known, store):
    confirm(acme__shop=("17", "acme/shop"))
    store.repositories.forget("shop")
    confirm(acme__shop=("18", "acme/shop"))
    assert known().host_id == "18"


def test_a_new_name_from_a_delivery_is_used_once_the_host_confirms_it(confirm, known, store):
    confirm(acme__shop=("17", "acme/shop"))
    store.repositories.note_told_name(store.get_application("shop").definition, "acme/store")
    assert confirm(acme__store=("17", "acme/store")) == "acme/store"


def test_the_new_name_is_used_even_if_the_old_one_is_another_repository(confirm, store):
    confirm(acme__shop=("17", "acme/shop"))
    store.repositories.note_told_name(store.get_application("shop").definition, "acme/store")
    found = {"acme__shop": ("18", "acme/shop"), "acme__store": ("17", "acme/store")}
    assert confirm(**found) == "acme/store"


@pytest.mark.parametrize("told", [("18", "acme/store"), NotFound("no"), PermissionDenied("no")])
def test_a_new_name_that_the_host_does_not_confirm_renames_nothing(confirm, known, store, told):
    confirm(acme__shop=("17", "acme/shop"))
    store.repositories.note_told_name(store.get_application("shop").definition, "acme/store")
    with pytest.raises(NotFound) as caught:
        confirm(acme__store=told)
    assert "acme/store" in caught.value.hint
    assert confirm(acme__shop=("17", "acme/shop"), acme__store=told) == "acme/shop"
    assert known().told_name is None


@pytest.mark.parametrize(
    "found", [None, (None, "acme/other"), PermissionDenied("no"), NotFound("no")]
)
def test_a_host_without_identifiers_changes_nothing(confirm, known, found):
    assert confirm(acme__shop=found) == "acme/shop"
    assert known() is None


def test_a_deleted_repository_is_not_deployed_from_elsewhere(confirm):
    confirm(acme__shop=("17", "acme/shop"))
    with pytest.raises(NotFound):
        confirm()


def test_an_unreachable_host_prevents_an_unconfirmed_deployment(confirm):
    with pytest.raises(ProviderUnavailable):
        confirm(acme__shop=ProviderUnavailable("no"))
