"""How the removal of an application is described and reported."""

from __future__ import annotations

from pathlib import Path

from deploycore.applications.application import Application
from deploycore.cli.removal import removal_as_dict, removal_lines, say_removed
from deploycore.installation.application_removal import Removal, RemovalPlan

SHOP = Application(
    name="shop", provider="work", repository="acme/shop", ref="main", target="/srv/shop"
)
PLAN = RemovalPlan(
    "shop", SHOP, deployments=2, former=1, releases=["one"], target=Path("/srv/shop")
)


def test_what_stays_and_what_is_erased_is_listed():
    options = {"with_previews": False, "keep_webhook": False}
    kept = "\n".join(removal_lines(PLAN, purge=False, **options))
    assert kept.startswith("This removes the application shop:\n")
    assert "kept: 2 deployments and their logs (deploycore deployments shop; --purge" in kept
    assert "stay: 1 release in /srv/shop" in kept
    erased = "\n".join(removal_lines(PLAN, purge=True, **options))
    assert "erased for good: 3 deployments and their logs, 1 of them of removed" in erased


def test_remaining_things_are_printed_to_standard_error(capsys):
    say_removed(Removal(PLAN, remains=["The webhook."]), purge=False)
    out, err = capsys.readouterr()
    assert out.startswith("Application shop is removed.\n  1 release stays in /srv/shop\n")
    assert err == "Not removed; remove it yourself: The webhook.\n"


def test_the_number_of_erased_deployments_includes_those_of_removed_applications():
    assert removal_as_dict(Removal(PLAN), purge=False)["deployments"] == 2
    done = removal_as_dict(Removal(PLAN), purge=True)
    assert (done["deployments"], done["history"], done["target"]) == (3, "erased", "/srv/shop")
