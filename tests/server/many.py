"""A host with very many repositories and branches, some with hostile names, for tests."""

from __future__ import annotations

__all__ = ["HOSTILE_NAMES", "MANY"]

HOSTILE_NAMES = [
    "hostile-<script>alert(1)</script>",
    "hostile-\"'><img src=x onerror=alert(1)>",
    "hostile-\x1b[31mred\x1b[0m",
    "hostile-\u202egnp.exe",
    "hostile-{{ 7 * 7 }}",
    "hostile-" + "x" * 10_000,
]

MANY = f"""
HOSTILE_NAMES = {HOSTILE_NAMES!r}
requests = []

def many_repositories(self, query):
    requests.append(("list_repos", query.name_contains))
    for number in range(10_000):
        if number % 100 == 0:
            requests.append(("page", number))
        yield named(f"repository-{{number:05}}", "acme")
    for name in HOSTILE_NAMES:
        yield named(name, "evil")

def named(name, owner):
    return Repository(
        name=name, slug=name, url="javascript:alert(1)", owner=Owner(username=owner),
        default_branch=name,
    )

def many_branches(self, repository, query):
    requests.append(("list_branches", query.name_contains))
    for name in ["main", *HOSTILE_NAMES, *(f"feature/{{number}}" for number in range(500))]:
        yield Branch(name=name, commit="1" * 40)

def tags(self, repository, query):
    yield Tag(name="v1", commit="2" * 40)

def owners(self, query):
    yield Owner(username="acme", display_name="Acme")
    yield Owner(username="evil", display_name=HOSTILE_NAMES[0])

from deploycore.models import Tag
AcmeProvider.list_repos = hookimpl(many_repositories)
AcmeProvider.list_branches = hookimpl(many_branches)
AcmeProvider.list_tags = hookimpl(tags)
AcmeProvider.list_owners = hookimpl(owners)
"""
"""What to add to the source of ``acme.PLUGIN``. ``requests`` has what the host was asked."""
