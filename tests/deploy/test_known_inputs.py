"""Whether a release was created with the same values of variables."""

from __future__ import annotations

import json
from types import SimpleNamespace

from pydantic import SecretStr

from deploycore.deploy.inputs import have_changed

VALUES = {"TOKEN": SecretStr("made-up-value")}


def test_unknown_inputs_count_as_unchanged(tmp_path):
    releases = SimpleNamespace(inputs=tmp_path / "inputs")
    assert not have_changed(releases, "one", VALUES)
    releases.inputs.write_text(json.dumps({"one": ["xyz"]}))
    assert not have_changed(releases, "one", VALUES)


def test_another_digest_means_changed_inputs(tmp_path):
    releases = SimpleNamespace(inputs=tmp_path / "inputs")
    releases.inputs.write_text(json.dumps({"one": ["00" * 16, "00" * 64]}))
    assert have_changed(releases, "one", VALUES)
