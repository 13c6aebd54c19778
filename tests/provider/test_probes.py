"""Imports that are tried in another process: what that process reports."""

from __future__ import annotations

from deploycore.provider.probing import import_all


class Reporter:
    def __init__(self):
        self.told = []

    def tell(self, event, **fields):
        self.told.append((event, *fields.values()))


def test_each_import_is_reported_also_one_that_fails(tmp_path, monkeypatch):
    (tmp_path / "probed_and_broken.py").write_text("raise RuntimeError('no')")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = [("good", "json:loads", "made.up"), ("bad", "probed_and_broken:X", "made.up")]
    reporter = Reporter()
    import_all({"points": points}, reporter)
    assert reporter.told == [("begin", 0), ("done", 0), ("begin", 1), ("done", 1), ("end",)]
