"""Credentials are replaced; applications, history and running processes continue."""

from __future__ import annotations

import pytest
from deploycore_bitbucket.sandbox import Sandbox

from deploycore import Installation, Settings
from deploycore.errors import AuthenticationFailed, ConfigurationError, StoreError
from deploycore.models import RepositoryId
from deploycore.provider import connection
from deploycore.testing.rows import credentials_of


@pytest.fixture
def sandbox():
    with Sandbox().with_demo_content() as sandbox:
        yield sandbox


@pytest.fixture
def work(shell, connect, tmp_path):
    """A provider that an application uses and has deployed with."""
    name, _ = connect("api-token")
    shell.succeed(
        "app", "create", "site", "--provider", name, "--repository", "acme/shop",
        "--branch", "main", "--target", str(tmp_path / "site"),
    )  # fmt: skip
    shell.succeed("deploy", "site")
    return name


@pytest.fixture
def new(sandbox):
    """Another token of the same account."""
    return sandbox.add_credential("api-token")


def present(sandbox):
    return next(each for each in sandbox.credentials if each.mode == "api-token")


def opened(shell):
    return Installation(Settings.from_environment({"DEPLOYCORE_HOME": str(shell.home)}))


def reveal(credential):
    return credential.secret.get_secret_value()


def test_rotating_a_secret_keeps_everything_else(shell, work, new, sandbox):
    former = present(sandbox)
    said = shell.succeed("provider", "rotate", work, "--token-stdin", given=reveal(new))
    assert "a new value" in said
    assert f"Provider {work} is changed: signed in as" in said
    sandbox.revoke_credential(former)
    assert "valid" in shell.succeed("provider", "test", work)
    assert len(shell.json("deployments", "site")) == 1
    sandbox.commit("acme", "shop", "main", {"b": b"2"}, "More")
    shell.succeed("deploy", "site")


def test_a_rejected_secret_replaces_nothing(shell, work):
    code, said = shell.fail("provider", "rotate", work, "--token-stdin", given=shell.made_up)
    assert code == 4
    assert ". To store the change without checking it, add --no-verify." in said
    assert "valid" in shell.succeed("provider", "test", work)
    assert shell.json("provider", "show", work)["generation"] == 1


def test_a_secret_can_be_moved_to_a_file(shell, work, new, tmp_path):
    path = tmp_path.parent / f"{tmp_path.name}-token"
    path.write_text(reveal(new))
    said = shell.succeed("provider", "rotate", work, "--token-file", str(path))
    assert f"file {path}" in said
    assert "valid" in shell.succeed("provider", "test", work)


def test_a_dry_run_shows_the_difference_and_stores_nothing(shell, work):
    before = shell.json("provider", "show", work)
    said = shell.succeed("provider", "edit", work, "--workspace", "other", "--dry-run")
    assert "workspace" in said
    assert "other" in said
    assert "Nothing is stored" in said
    assert shell.json("provider", "show", work) == before
    found = shell.json("provider", "edit", work, "--workspace", "other", "--dry-run")
    assert found["stored"] is False
    assert [each["field"] for each in found["differences"]] == ["workspace"]


def test_setting_the_current_value_changes_nothing(shell, work):
    before = shell.json("provider", "show", work)
    workspace = before["settings"]["workspace"]
    assert "Nothing is changed" in shell.succeed("provider", "edit", work, "--workspace", workspace)
    assert shell.json("provider", "show", work) == before


def test_an_invalid_field_changes_nothing(shell, work, new):
    before = shell.json("provider", "show", work)
    assert shell.fail("provider", "edit", work, "--email", "")[0] == 3
    assert shell.fail("provider", "edit", work, "--workspase", "x")[0] == 2
    assert shell.fail("provider", "edit", work, "--unset", "nope")[0] == 2
    code, said = shell.fail("provider", "rotate", work, "--email", "x@example.com")
    assert code == 2
    assert f"deploycore provider edit {work} --email VALUE" in said
    assert shell.fail("provider", "edit", work, "--unset", "email")[0] == 3
    assert shell.fail("provider", "edit", work, "--token", shell.made_up)[0] == 3
    assert shell.fail("provider", "edit", "nope", "--workspace", "x")[0] == 3
    assert "No field was given" in shell.fail("provider", "edit", work)[1]
    assert shell.fail("provider", "rotate", work, "--workspace", "x")[0] == 2
    code, said = shell.fail("provider", "rotate", work)  # there is no terminal to ask at
    assert (code, "Use --token-stdin" in said) == (3, True)
    assert shell.json("provider", "show", work) == before
    assert shell.succeed("provider", "rotate", work, "--token-stdin", given=reveal(new))


def test_changing_the_mode_drops_the_fields_of_the_previous_mode(shell, work, sandbox):
    token = sandbox.add_credential("access-token")
    shell.succeed(
        "provider", "edit", work, "--mode", "access-token", "--token-stdin", given=reveal(token)
    )
    shown = shell.json("provider", "show", work)
    assert shown["settings"]["mode"] == "access-token"
    assert "email" not in shown["settings"]
    assert "valid" in shell.succeed("provider", "test", work)


def test_a_running_process_continues_with_the_new_secret(shell, work, new, sandbox):
    former = present(sandbox)
    with opened(shell) as installation, installation.open_provider(work) as provider:
        first = provider.authenticate()
        branches = provider.list_branches(RepositoryId.parse("acme/shop"))
        shell.succeed("provider", "rotate", work, "--token-stdin", given=reveal(new))
        sandbox.revoke_credential(former)
        assert [each.name for each in branches]  # asked for before, and begun only now
        assert provider.authenticate() == first
        found = provider.clone_url(RepositoryId.parse("acme/shop"))
        assert found.credential.password == new.secret
        sandbox.revoke_credential(new)
        with pytest.raises(AuthenticationFailed):
            provider.authenticate()


@pytest.fixture
def shown(sandbox, monkeypatch):
    """The passwords that the host was shown since it was asked for: ``shown()``."""
    answer, passwords = sandbox.answer, []

    def noting(request):
        passwords.append(credentials_of(request)[1])
        return answer(request)

    monkeypatch.setattr(sandbox, "answer", noting)

    def read():
        found = set(passwords)
        passwords.clear()
        return found

    return read


def test_an_open_provider_applies_a_change_without_a_rejection(
    shell, work, new, sandbox, shown, monkeypatch
):
    """Before the next call, unless it has read the provider within the last second."""
    former, now = present(sandbox), [1000.0]
    monkeypatch.setattr(connection, "monotonic", lambda: now[0])
    with opened(shell) as installation, installation.open_provider(work) as provider:
        provider.authenticate()
        shell.succeed("provider", "rotate", work, "--token-stdin", given=reveal(new))
        shown()
        now[0] += 0.9
        provider.authenticate()
        assert shown() == {reveal(former)}  # the database was not asked
        now[0] += 0.1
        provider.authenticate()
        assert list(provider.list_branches(RepositoryId.parse("acme/shop")))
        assert shown() == {reveal(new)}
        assert provider.clone_url(RepositoryId.parse("acme/shop")).credential.password == new.secret
        # What cannot be read does not stop what is open.
        monkeypatch.setattr(installation.store, "get_provider", unreadable)
        now[0] += 1.0
        assert provider.authenticate()


def unreadable(name):
    raise StoreError("The database cannot be read.", hint="Try again.")


def test_previous_secrets_are_used_while_they_are_kept(shell, work, new, sandbox):
    shell.succeed(
        "provider", "rotate", work, "--token-stdin", "--keep-old", "1h", given=reveal(new)
    )
    sandbox.revoke_credential(new)
    assert "valid" in shell.succeed("provider", "test", work)


def test_previous_secrets_are_not_used_unless_they_are_kept(shell, work, new, sandbox):
    shell.succeed("provider", "rotate", work, "--token-stdin", given=reveal(new))
    sandbox.revoke_credential(new)
    assert shell.fail("provider", "test", work)[0] == 4


@pytest.mark.parametrize("kept", ["8d", "0s", "-1h", "soon"])
def test_previous_secrets_cannot_be_kept_forever(shell, work, new, kept):
    done = shell.run(
        "provider", "rotate", work, "--token-stdin", f"--keep-old={kept}", given=reveal(new)
    )
    assert done.returncode in (2, 3)
    assert shell.json("provider", "show", work)["generation"] == 1


def test_the_second_of_two_concurrent_changes_is_rejected(shell, work):
    with opened(shell) as installation:
        changes = installation.provider_changes
        first = changes.plan(work, {"workspace": "one"}, {})
        second = changes.plan(work, {"workspace": "two"}, {})
        changes.store(first)
        with pytest.raises(ConfigurationError, match="by another command at the same time"):
            changes.store(second)
    assert shell.json("provider", "show", work)["settings"]["workspace"] == "one"


def test_a_provider_without_secrets_cannot_be_rotated(shell, work):
    from deploycore_bitbucket import BitbucketProvider

    from deploycore.cli.fields import ask_for_new_secret, read_changed_fields

    with pytest.raises(ConfigurationError, match="no secret to rotate") as caught:
        ask_for_new_secret(BitbucketProvider.Config, [])
    assert "deploycore provider edit --help" in caught.value.hint
    with pytest.raises(ConfigurationError, match="2 secrets") as caught:
        ask_for_new_secret(BitbucketProvider.Config, ["app_password", "token"])
    assert "--token-stdin" in caught.value.hint
    given = read_changed_fields(BitbucketProvider.Config, ["--token-env", "TOKEN"])
    assert list(given.secrets) == ["token"]
