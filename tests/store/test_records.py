"""Stored records are returned. Unknown, duplicate or used names cause errors that name them."""

from __future__ import annotations

import dataclasses
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from pydantic import SecretStr

from deploycore.errors import ConfigurationError, StoreError
from deploycore.secrets import SecretBox
from deploycore.store import Store


@pytest.fixture
def shop(store, provider, application):
    """A store with the application ``shop`` of the provider ``acme``."""
    store.add_provider(provider())
    store.add_application(application())
    return store


def test_a_provider_is_read_as_it_was_stored(store, provider):
    given = provider(settings={"user": "größe", "mode": "token"}, secrets={"token": "env:TOKEN"})
    store.add_provider(given)
    assert store.get_provider("acme") == given
    assert store.list_providers() == [given]


def test_an_application_is_read_as_it_was_stored(shop, application):
    assert shop.get_application("shop").definition == application()
    assert [record.definition for record in shop.list_applications()] == [application()]


def test_only_a_changed_application_is_written_again(shop, application):
    before = shop.get_application("shop")
    shop.keep_application_secret("shop", "TOKEN", "env:TOKEN")
    shop.put_applications([application(ref="main"), application("blog")])
    after = shop.get_application("shop")
    assert (after.definition.ref, after.secrets) == ("main", {"TOKEN": "env:TOKEN"})
    assert after.created_at == before.created_at
    assert after.changed_at > before.changed_at
    assert [record.name for record in shop.list_applications()] == ["blog", "shop"]


def test_applications_are_stored_all_or_none(shop, application):
    with pytest.raises(ConfigurationError, match="'c' already has the target"):
        shop.put_applications(
            [application(ref="x"), application("blog"), application("c", target=Path("/srv/blog"))]
        )
    shop.put_applications([application(ref="x"), application("blog")], dry_run=True)
    assert [record.definition for record in shop.list_applications()] == [application()]


def test_a_secret_of_an_application_is_stored_and_deleted(shop):
    shop.keep_application_secret("shop", "A", "env:A")
    shop.keep_application_secret("shop", "B", "file:/b")
    shop.keep_application_secret("shop", "A", None)
    record = shop.get_application("shop")
    assert record.secrets == {"B": "file:/b"}
    assert "/b" not in repr(record)


def test_an_unknown_definition_format_is_reported(shop, any_settings, application):
    from sqlalchemy import create_engine, text

    engine = create_engine(any_settings.database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE applications SET definition_checksum = NULL"))
        connection.execute(text("UPDATE applications SET definition = '{\"future\": 1}'"))
    engine.dispose()
    with pytest.raises(StoreError, match="'shop' is stored in a form") as caught:
        shop.get_application("shop")
    assert "or apply the application's file again" in caught.value.hint
    shop.put_applications([application()])
    assert shop.get_application("shop").definition == application()


def test_records_are_visible_to_the_next_process(any_settings, provider):
    with Store(any_settings) as store:
        store.add_provider(provider())
    with Store(any_settings) as store:
        assert store.get_provider("acme") == provider()


def test_a_closed_store_reopens_on_use(store, provider):
    store.add_provider(provider())
    store.close()
    assert store.list_providers() == [provider()]


def test_lists_are_ordered_by_name(store, provider, application):
    for name in ("b", "c", "a"):
        store.add_provider(provider(name))
        store.add_application(application(name, provider=name))
    assert [record.name for record in store.list_providers()] == ["a", "b", "c"]
    assert [record.name for record in store.list_applications()] == ["a", "b", "c"]


def test_times_are_stored_in_utc(store, provider):
    tokyo = datetime(2026, 11, 24, 19, 15, tzinfo=timezone(timedelta(hours=9)))
    store.add_provider(provider(created_at=tokyo))
    kept = store.get_provider("acme").created_at
    assert (kept, kept.tzinfo) == (tokyo, UTC)


def test_records_are_frozen_and_show_no_secrets(provider):
    with pytest.raises(dataclasses.FrozenInstanceError):
        provider().name = "other"
    assert "env:TOKEN" not in repr(provider())


@pytest.mark.parametrize("name", ["", "-shop", "sh op", "shop\n", "größe", "x" * 64, "a/b", ".."])
def test_a_malformed_name_is_refused(shop, provider, name):
    with pytest.raises(ConfigurationError, match="is not a valid name") as caught:
        shop.add_provider(provider(name))
    assert repr(name) in caught.value.message
    assert "letters, digits" in caught.value.hint
    shop.add_provider(provider("My_host-2.0"))


def test_a_text_that_cannot_be_stored_is_refused(shop, provider):
    with pytest.raises(ConfigurationError, match="cannot be stored or found, because") as caught:
        shop.get_provider("caf\ud800")
    assert "Remove control characters" in caught.value.hint
    shop.add_provider(provider("cafe"))
    assert shop.get_provider("cafe").name == "cafe"


def test_a_name_in_use_is_rejected_and_its_record_is_kept(shop, provider, application):
    with pytest.raises(ConfigurationError, match="provider name 'acme' is taken"):
        shop.add_provider(provider(kind="other"))
    with pytest.raises(ConfigurationError, match="application name 'shop' is taken") as caught:
        shop.add_application(application(ref="other"))
    assert shop.get_provider("acme").kind == "acme"
    assert shop.get_application("shop").definition == application()
    assert "Choose another name, or remove it first: deploycore app remove" in caught.value.hint
    shop.remove_application("shop")
    shop.add_application(application(ref="other"))
    shop.add_provider(provider("another", kind="other"))


def test_a_target_belongs_to_one_application(shop, application):
    with pytest.raises(ConfigurationError, match="'shop' already has the target /srv/shop"):
        shop.add_application(application("other", target=Path("/srv/shop")))


def test_an_application_of_an_unknown_provider_is_refused(shop, application):
    with pytest.raises(ConfigurationError, match="no provider 'acne'") as caught:
        shop.add_application(application("other", provider="acne"))
    assert caught.value.hint.startswith("Did you mean 'acme'?")
    assert len(shop.list_applications()) == 1


def test_unknown_names_suggest_the_closest_name_and_the_next_command(shop):
    provider_calls = (shop.get_provider, shop.remove_provider)
    application_calls = (
        shop.get_application,
        shop.remove_application,
        shop.deployments.list,
        lambda name: shop.deployments.request(name, ref="main"),
        lambda name: shop.keep_application_secret(name, "A", None),
    )
    for call in provider_calls:
        with pytest.raises(ConfigurationError, match="no provider 'acm'") as caught:
            call("acm")
        hint = "Did you mean 'acme'? List them: deploycore provider list"
        assert caught.value.hint == hint
    for call in application_calls:
        with pytest.raises(ConfigurationError, match="no application 'shpo'") as caught:
            call("shpo")
        assert caught.value.hint == "Did you mean 'shop'? List them: deploycore app list"


def test_all_unknown_names_are_reported_at_once(shop):
    with pytest.raises(ConfigurationError) as caught:
        shop.get_applications(["shpo", "shop", "zzz", "shpo"])
    assert caught.value.message == "There are no applications 'shpo' and 'zzz'."
    hint = "For 'shpo', did you mean 'shop'? List them: deploycore app list"
    assert caught.value.hint == hint
    assert [each.name for each in shop.get_applications(["shop", "shop"])] == ["shop", "shop"]


def test_a_name_with_no_similar_name_gets_no_suggestion(shop):
    with pytest.raises(ConfigurationError) as caught:
        shop.get_provider("zzz")
    assert caught.value.hint == "List them: deploycore provider list"


def test_a_provider_in_use_is_not_removed_and_its_users_are_named(shop, application):
    shop.add_application(application("blog"))
    with pytest.raises(ConfigurationError, match="'acme' is used by: blog, shop") as caught:
        shop.remove_provider("acme")
    assert "deploycore app remove blog" in caught.value.hint
    assert shop.get_provider("acme")


def test_an_unused_provider_is_removed(shop):
    shop.remove_application("shop")
    shop.remove_provider("acme")
    assert shop.list_providers() == []


def test_sealed_secrets_are_distinguished_from_references(store, provider, any_settings):
    assert not store.holds_sealed_secrets()
    store.add_provider(provider("referring"))
    assert not store.holds_sealed_secrets()
    sealed = SecretBox(any_settings).seal(SecretStr("of-the-shop"))
    store.add_provider(provider("sealed", secrets={"token": sealed}))
    assert store.holds_sealed_secrets()


def test_secrets_sealed_with_a_second_key_are_refused(store, provider, any_settings):
    box = SecretBox(any_settings)
    store.add_provider(provider("first", secrets={"token": box.seal(SecretStr("of-the-shop"))}))
    any_settings.secret_key_file.unlink()
    second = provider("second", secrets={"token": box.seal(SecretStr("of-the-blog"))})
    with pytest.raises(StoreError, match="encrypted with another key"):
        store.add_provider(second)
    store.add_provider(provider("referring"))
    assert [record.name for record in store.list_providers()] == ["first", "referring"]


def test_a_lost_key_is_reported_while_sealed_secrets_exist(store, provider, any_settings):
    box = SecretBox(any_settings, sealed_secrets_exist=store.holds_sealed_secrets)
    store.add_provider(provider(secrets={"token": box.seal(SecretStr("of-the-shop"))}))
    any_settings.secret_key_file.unlink()
    with pytest.raises(StoreError, match="missing"):
        box.seal(SecretStr("of-the-blog"))
    assert not any_settings.secret_key_file.exists()
    store.remove_provider("acme")
    assert box.reveal(box.seal(SecretStr("of-the-blog"))) == SecretStr("of-the-blog")


def test_the_data_directory_contains_no_plaintext_secret(settings, provider, monkeypatch):
    monkeypatch.setenv("SHOP_TOKEN", "referred-to-secret")
    box = SecretBox(settings)
    with Store(settings) as store:
        secrets = {
            "token": box.seal(SecretStr("sealed-secret")),
            "other": box.keep_reference("env:SHOP_TOKEN"),
        }
        store.add_provider(provider(secrets=secrets))
        box.reveal(store.get_provider("acme").secrets["other"])
        while_open = [path.read_bytes() for path in settings.home.iterdir()]
    kept = while_open + [path.read_bytes() for path in settings.home.iterdir()]
    assert len(while_open) >= 3
    assert not any(b"sealed-secret" in one or b"referred-to-secret" in one for one in kept)


def test_threads_share_a_store(shop, application):
    barrier = threading.Barrier(6)
    failures = []

    names = [f"shop{number}" for number in range(6)]
    shop.put_applications(list(map(application, names)))

    def deploy(name: str) -> None:
        barrier.wait()
        try:
            for _ in range(5):
                asked = shop.deployments.request(name, ref="main")
                shop.deployments.advance(asked.id, "failed")
                shop.deployments.list(name)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=deploy, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(shop.deployments.list(state="failed")) == 30


def test_an_undecodable_path_is_rejected(settings, provider, application):
    with Store(settings) as store:
        store.add_provider(provider())
        with pytest.raises(ConfigurationError, match="valid Unicode"):
            store.put_applications(
                [application().model_copy(update={"target": Path("/srv/\udcff")})]
            )
        assert store.list_applications() == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"expires_at": "2026"}, "should be a time"),
        ({"settings": {"a": object()}}, "should be JSON"),
    ],
    ids=["time", "document"],
)
def test_a_value_of_a_wrong_type_is_an_error_that_says_so(settings, provider, fields, why):
    with Store(settings) as store:
        with pytest.raises(ConfigurationError, match=why):
            store.add_provider(provider(**fields))
        assert store.list_providers() == []
