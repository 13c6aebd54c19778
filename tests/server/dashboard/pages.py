"""Reads pages like a browser: their forms, with the value of each input."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

__all__ = ["HtmlForm", "forms_of"]


@dataclass
class HtmlForm:
    """A form of a page.

    Attributes:
        values: What each input holds, by name, without boxes that are not checked.
        types: The type of each input, by name.
        described: The texts by which each input is described, by name.
        boxes: The values of boxes that are not checked, by name.
    """

    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    described: dict[str, str] = field(default_factory=dict)
    boxes: dict[str, str] = field(default_factory=dict)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[HtmlForm] = []
        self.texts: dict[str, str] = {}
        self._ids: dict[tuple[int, str], list[str]] = {}
        self._stack: list[tuple[str, str]] = []
        self._select = self._area = ""

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "form":
            self.forms.append(HtmlForm(given.get("action", ""), given.get("method", "get")))
        elif tag in ("input", "select", "textarea") and self.forms and "name" in given:
            self._input(tag, given)
        elif tag == "option" and self._select:
            form = self.forms[-1]
            if "selected" in given or self._select not in form.values:
                form.values[self._select] = given.get("value", "")
        if tag not in ("input", "meta", "link", "br"):
            self._stack.append((tag, given.get("id", "")))

    def _input(self, tag, given):
        form, name = self.forms[-1], given["name"]
        type_ = given.get("type", "text") if tag == "input" else tag
        form.types[name] = type_
        self._ids[len(self.forms) - 1, name] = given.get("aria-describedby", "").split()
        if type_ == "checkbox" and "checked" not in given:
            form.boxes[name] = given.get("value", "on")
        elif tag == "input":
            form.values[name] = given.get("value", "")
        elif tag == "select":
            self._select = name
        else:
            self._area = name
            form.values[name] = ""

    def handle_endtag(self, tag):
        if tag == "select":
            self._select = ""
        if tag == "textarea":
            self._area = ""
        while self._stack and self._stack.pop()[0] != tag:
            pass

    def handle_data(self, data):
        if self._area:
            self.forms[-1].values[self._area] += data.removeprefix("\n")
        for _, id_ in self._stack:
            if id_:
                self.texts[id_] = self.texts.get(id_, "") + data

    def close(self):
        super().close()
        for (number, name), ids in self._ids.items():
            self.forms[number].described[name] = " ".join(self.texts.get(i, "") for i in ids)


def forms_of(html: str) -> dict[str, HtmlForm]:
    """Return the forms of a page by their action; of several with one action, the last one."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return {each.action: each for each in reader.forms}
