"""Files that cannot be removed are reported, counted and tried again; files that deploycore did not
create stay."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from deploycore.deploy import Releases
from deploycore.deploy.releases import is_release_name
from deploycore.doctor import diagnose
from deploycore.errors import DeployError, HealthCheckFailed, StepFailed

STUCK = "stuck"


@pytest.fixture
def refuse(monkeypatch):
    """Refuses to remove files of a name, as for immutable ones; ``refuse()`` ends that."""
    unlink, refused = os.unlink, {STUCK}

    def refusing(path, **options):
        if os.path.basename(path) in refused:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", refusing)
    return refused.clear


@pytest.fixture
def log(installation):
    """The sentences in the log of the last deployment."""

    def read() -> list[str]:
        last = installation.store.deployments.list("site", limit=1)[0]
        lines = installation.engine.logs.read("site", last.id)
        return [each.text for each in lines if each.kind == "note"]

    return read


def doctor(installation, text):
    found = diagnose(lambda: installation._settings, offline=True)
    return [each for each in found if text in each.message]


def hidden(target):
    return [each for each in os.listdir(target / "releases") if each.startswith(".")]


def test_leftovers_of_a_pruned_release_are_reported_and_removal_is_retried(
    installation, create, publish, target, refuse, log
):
    create(keep=2, steps={"build": [{"shell": f"mkdir d; echo > d/{STUCK}"}]})
    for content in ("one", "two"):
        publish(content)
        installation.deploy("site")
    modes = [stat.S_IMODE(os.stat(each).st_mode) for each in (target, target / "releases")]
    publish("three")
    assert installation.deploy("site").state == "healthy"
    (told,) = (each for each in log() if "could not be removed" in each)
    assert "d/stuck: Operation not permitted" in told
    assert not any("is removed;" in each for each in log())
    (left,) = installation.engine.leftovers("site")
    assert left.entries == 3
    assert left.bytes > 0
    (found,) = doctor(installation, "could not be removed")
    assert (found.level, found.subject) == ("warning", "application site")
    assert "MiB" in found.message
    assert "try again" in found.hint
    publish("four")
    installation.deploy("site")
    assert sum(".removed.deploycore-" in each for each in log()) == 2
    assert len(hidden(target)) == 2
    assert modes == [stat.S_IMODE(os.stat(each).st_mode) for each in (target, target / "releases")]
    refuse()
    installation.recover()
    assert hidden(target) == []
    assert installation.engine.leftovers("site") == []
    assert doctor(installation, "could not be removed") == []


def test_a_release_that_was_not_renamed_is_not_reported_as_removed(
    installation, create, publish, target, monkeypatch, log
):
    create(keep=2)
    first = installation.deploy("site").release
    rename = os.rename

    def refusing(source, destination, **options):
        where, name = os.path.split(source)
        if where == str(target / "releases") and not name.startswith("."):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        rename(source, destination, **options)

    monkeypatch.setattr(os, "rename", refusing)
    for content in ("two", "three"):
        publish(content)
        assert installation.deploy("site").state == "healthy"
    assert any(f"release {first} could not be removed: " in each for each in log())
    assert (target / "releases" / first / "page").exists()
    assert doctor(installation, "are to be kept") == []  # one more may be needed
    publish("busy")
    installation.deploy("site")
    (found,) = doctor(installation, "has 4 releases, although 2 are to be kept")
    assert (found.level, found.subject) == ("warning", "application site")
    monkeypatch.undo()
    publish("four")
    installation.deploy("site")
    assert first not in os.listdir(target / "releases")


@pytest.mark.parametrize(
    ("fields", "kind", "state"),
    [
        (
            {"steps": {"build": [{"shell": f"touch {STUCK}; ! grep -q ill page"}]}},
            StepFailed,
            "failed",
        ),
        (
            {
                "steps": {"build": [{"shell": f"touch {STUCK}"}]},
                "health_check": {"shell": "! grep -q ill page", "retries": 0},
            },
            HealthCheckFailed,
            "rolled_back",
        ),
    ],
    ids=["build", "health-check"],
)
def test_failed_cleanup_keeps_the_original_error_and_state(
    installation, create, publish, target, refuse, log, fields, kind, state
):
    create(**fields)
    live = installation.deploy("site").release
    publish("ill")
    with pytest.raises(kind):
        installation.deploy("site")
    record = installation.store.deployments.list("site", limit=1)[0]
    assert (record.state, record.error_code) == (state, kind.code)
    assert any("could not be removed completely" in each for each in log())
    assert Releases(target).current.name == live
    refuse()
    publish("well")
    assert installation.deploy("site").state == "healthy"
    assert hidden(target) == []


@pytest.mark.parametrize("is_ill", [False, True])
def test_an_error_during_cleanup_does_not_change_the_result(
    installation, create, publish, target, monkeypatch, log, is_ill
):
    create(keep=2, health_check={"shell": "! grep -q ill page", "retries": 0})
    for content in ("one", "two"):
        publish(content)
        installation.deploy("site")
    for error in (NotImplementedError("a bug"), MemoryError(), OSError(5, "x")):

        def fail(self, release, error=error):
            raise error

        monkeypatch.setattr(Releases, "discard", fail)
        publish(("ill " if is_ill else "well ") + type(error).__name__)
        if is_ill:
            with pytest.raises(HealthCheckFailed):
                installation.deploy("site")
        else:
            installation.deploy("site")
        record = installation.store.deployments.list("site", limit=1)[0]
        assert record.state == ("rolled_back" if is_ill else "healthy"), error
        assert any("was not cleaned completely" in each for each in log()), error


@pytest.mark.parametrize("is_file", [False, True])
def test_foreign_files_are_kept_and_reported(installation, create, publish, target, log, is_file):
    create(keep=2)
    installation.deploy("site")
    names = ("backup-before-migration", "lost+found", "20200101T000000Z-0123456789ab", "aaa")
    names += (".hidden",)
    files = {}
    for name in names:
        strange = target / "releases" / name
        if not is_file:
            strange.mkdir()
        files[name] = strange if is_file else strange / "file"
        files[name].write_text("precious")
    made = []
    for content in ("two", "three", "four"):
        publish(content)
        made.append(installation.deploy("site").release)
    assert {file.read_text() for file in files.values()} == {"precious"}
    assert sorted(os.listdir(target / "releases")) == sorted([*names, *made[-2:]])
    (found,) = doctor(installation, "left alone")
    assert found.level == "warning"
    for name in names:
        (told,) = (each for each in log() if name in each)
        assert "left alone" in told
        assert name in found.message


def test_a_release_of_another_application_is_unknown(installation, create, publish, target):
    """An application that was removed and is created again finds what it does not know."""
    create(keep=2)
    former = installation.deploy("site").release
    definition = installation.store.get_application("site").definition
    installation.remove_application("site")
    installation.apply([definition])
    for content in ("two", "three", "four"):
        publish(content)
        installation.deploy("site")
    names = os.listdir(target / "releases")
    known = installation.store.deployments.of_releases("site", names)
    assert (former in names) == (former not in known)
    assert len(known) == 2


def test_interrupted_cleanup_of_a_failed_release_is_completed(installation, create, target):
    create()
    installation.deploy("site")
    deployments = installation.store.deployments
    failed = deployments.request("site", ref="main")
    name = "20260101T000000Z-0123456789ab"
    for state, fields in (
        ("authenticating", {}),
        ("resolving", {}),
        ("fetching", {"release": name}),
        ("failed", {}),
    ):
        deployments.advance(failed.id, state, **fields)
    (target / "releases" / name).mkdir()
    assert is_release_name(name)
    installation.recover()
    assert name not in os.listdir(target / "releases")


def test_a_target_that_cannot_be_removed_does_not_affect_its_parents(tmp_path, refuse):
    place = tmp_path / "previews"
    releases = Releases(place / "7")
    releases.prepare()
    (releases.directory / "one").mkdir()
    (releases.directory / "one" / STUCK).touch()
    place.chmod(0o755)
    for _ in range(2):
        with pytest.raises(DeployError, match="stuck: Operation not permitted"):
            releases.remove()
        assert stat.S_IMODE(place.stat().st_mode) == 0o755
        assert not (place / "7").exists()
    (left,) = releases.leftovers_beside()
    assert left.entries == 4
    # The pull request was opened again, and closed again.
    releases.prepare()
    with pytest.raises(DeployError, match="could not be removed"):
        releases.remove()
    refuse()
    releases.remove()
    assert os.listdir(place) == []
