"""An installation with content for each page, including texts from git hosts and committers."""

from __future__ import annotations

from contextlib import suppress

from deploycore.errors import DeploycoreError
from deploycore.ssh.making import make_key_pair

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
"""What a committer may write into everything that pages show."""


def fill(site) -> None:
    """Add providers and applications, and deploy well, badly, and back."""
    provider = site.add_provider()
    site.add_provider("app-password")
    owner = site.connection().owner
    with site.installation() as opened:
        sandbox, settings = site.sandbox, {"provider": provider, "ref": "main"}
        files = {"README": b"one\n", "build.sh": b"printf '\\033[31mred\\033[0m <b>bold</b>\\n'\n"}
        sandbox.publish(owner, "shop", "main", files, f"Begin {HOSTILE}")
        opened.add_application(
            "shop",
            repository=f"{owner}/shop",
            target=site.directory / "shop",
            steps={"build": [{"shell": "sh build.sh"}]},
            health_check={"shell": "test ! -e BROKEN", "retries": 1},
            **settings,
        )
        opened.deploy("shop")
        sandbox.publish(owner, "shop", "main", {**files, "README": b"two\n"}, "Change it")
        opened.deploy("shop")
        sandbox.publish(owner, "shop", "main", {**files, "BROKEN": b""}, "Break it")
        with suppress(DeploycoreError):
            opened.deploy("shop")
        opened.roll_back("shop")
        opened.webhooks.prepare("shop")
        shop = opened.store.get_application("shop").definition
        opened.store.repositories.note_other(shop, "another")
        private, public = make_key_pair("rsa")
        for application, repository in (("shop", f"{owner}/shop"), (None, None)):
            opened.store.deploy_keys.add(
                application=application,
                provider=provider,
                repository=repository,
                public_key=public,
                secret=opened.secrets.seal(private),
            )
        opened.store.tokens.add("ci", digest="0" * 64, role="read", expires_at=None)
        opened.add_application(
            "website", repository=f"{owner}/website", target=site.directory / "website", **settings
        )
