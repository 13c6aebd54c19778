"""Files of applications: they are read, compared, written, and read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploycore.applications import files
from deploycore.applications.application import parse_application
from deploycore.applications.files import (
    MOST_BYTES,
    compare,
    read_declaration,
    render_declaration,
)
from deploycore.cli import declaration
from deploycore.errors import ConfigurationError

YAML = """\
applications:
  shop:
    provider: work
    repository: acme/shop
    ref: main
    target: /srv/shop
    environment:
      RAILS_ENV: production
      TOKEN: {secret: "env:TOKEN"}
    steps:
      build: [npm ci, [make, all]]
  blog: {provider: work, repository: acme/blog, ref: v1, target: /srv/größe}
"""
TOML = """\
[applications.shop]
provider = "work"
repository = "acme/shop"
ref = "main"
target = "/srv/shop"
environment = {RAILS_ENV = "production", TOKEN = {secret = "env:TOKEN"}}
[applications.shop.steps]
build = ["npm ci", ["make", "all"]]
[applications.blog]
provider = "work"
repository = "acme/blog"
ref = "v1"
target = "/srv/größe"
"""


@pytest.fixture
def read(tmp_path):
    def from_text(text: str | bytes, name: str = "apps.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_declaration(path)

    return from_text


def test_yaml_and_toml_are_equivalent(read):
    shop, blog = read(YAML)
    assert [shop, blog] == read(TOML, "apps.toml") == read(YAML, "apps.YML")
    assert shop.steps.build[0].arguments == ("npm", "ci")
    assert blog.target == Path("/srv/größe")


def test_a_written_declaration_is_read_back_unchanged(read):
    applications = read(YAML)
    written = render_declaration(applications)
    assert read(written) == applications
    assert "größe" in written


def test_adding_an_empty_section_is_a_difference(read):
    shop = read(YAML)[0]
    automatic = type(shop).model_validate(shop.as_dict() | {"auto_deploy": {}})
    change = compare(shop, automatic)
    assert (change.kind, dict(change.fields)) == ("change", {"auto_deploy": (None, {})})


def test_an_application_is_compared_field_by_field(read):
    shop, _ = read(YAML)
    changed = shop.model_copy(update={"ref": "v2", "keep": 9})
    assert compare(shop, shop).kind == "unchanged"
    change = compare(shop, changed)
    assert change.kind == "change"
    assert change.fields == {"keep": (None, 9), "ref": ("main", "v2")}
    created = compare(None, shop)
    assert created.kind == "create"
    assert created.fields["environment/RAILS_ENV"] == (None, "production")


WRONG = [
    (b"\xff", "apps.yaml", "is not YAML"),
    ("a: [", "apps.yaml", "is not YAML"),
    ("a = ", "apps.toml", "is not TOML"),
    ("", "apps.yaml", "must have 'applications' at the top"),
    ("[]", "apps.yaml", "must have 'applications' at the top"),
    ("applications: {}\nother: 1", "apps.yaml", "must have 'applications' at the top"),
    ("applications: [shop]", "apps.yaml", "must be a mapping of application names"),
    ("applications: {7: {}}", "apps.yaml", "must be a mapping of application names"),
    ("applications: {shop: main}", "apps.yaml", "applications/shop: must be a mapping"),
    (
        "applications: {shop: {name: x}}",
        "apps.yaml",
        "applications/shop/name: is not a known field",
    ),
    (YAML.replace("ref: main", "ref: main\n    ref: v2"), "apps.yaml", "'ref' appears twice"),
    (YAML.replace("[make, all]", "{}"), "apps.yaml", "applications/shop/steps/build/1: should"),
    ("applications: !!python/object/apply:os.system ['true']", "apps.yaml", "is not YAML"),
    ("[" * 100_000, "apps.yaml", "is not YAML"),
    ("#" * (MOST_BYTES + 1), "apps.yaml", "is larger than"),
    (YAML, "apps.json", "is not a YAML or TOML file"),
]


@pytest.mark.parametrize(("text", "name", "said"), WRONG, ids=[said for *_, said in WRONG])
def test_errors_are_reported_with_file_and_location(read, text, name, said):
    with pytest.raises(ConfigurationError) as caught:
        read(text, name)
    assert said in caught.value.message
    assert name in caught.value.message
    assert caught.value.hint
    if caught.value.hint.startswith("See "):
        page = Path(caught.value.hint.partition(": ")[2]).read_text()
        assert read(page.partition("```yaml\n")[2].partition("```")[0])


def test_an_oversized_file_is_rejected_with_a_request_to_split_it(read):
    """Which the command allows: what a file does not name stays."""
    with pytest.raises(ConfigurationError) as caught:
        read("#" * (MOST_BYTES + 1), "apps.yaml")
    assert caught.value.message.endswith("apps.yaml is larger than 16,777,216 bytes.")
    assert caught.value.hint.startswith("Split it into several files")
    shop, blog = read(YAML)
    assert [read(render_declaration([each])) for each in (shop, blog)] == [[shop], [blog]]


def test_an_export_of_many_applications_can_be_read(read):
    shop, *_ = read(YAML, "apps.yaml")
    assert len(render_declaration([shop])) * 10_000 < MOST_BYTES
    long = {"steps": {"build": [{"shell": "true; " * 10_000}]}}
    many = [
        parse_application(shop.as_dict() | {"name": f"shop-{number}", **long})
        for number in range(20)
    ]
    written = render_declaration(many)
    assert len(written) > 1024 * 1024
    assert read(written, "many.yaml") == many


def test_an_export_that_apply_would_reject_reports_it(monkeypatch, capsys, read):
    monkeypatch.setattr(files, "MOST_BYTES", 10)
    declaration._warn_if_too_large("applications: {}")
    assert "Export fewer applications at a time" in capsys.readouterr().err
    declaration._warn_if_too_large("short")
    assert capsys.readouterr().err == ""


def test_an_unreadable_file_is_reported_clearly(tmp_path):
    path = tmp_path / "apps.yaml"
    with pytest.raises(ConfigurationError, match="cannot be read: No such file") as caught:
        read_declaration(path)
    assert caught.value.hint == "Check the path, and whether you may read the file."
    path.write_text(YAML)
    assert read_declaration(path)
    for name in ("apps", "apps.txt"):
        with pytest.raises(ConfigurationError, match="is not a YAML or TOML file") as caught:
            read_declaration(path.rename(tmp_path / name))
        assert "Name it .yaml" in caught.value.hint
        path = tmp_path / name
    assert read_declaration(path.rename(tmp_path / "apps.yml"))
