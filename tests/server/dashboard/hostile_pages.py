"""Checks that pages contain no markup from git hosts, committers or programs."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></textarea></pre></svg><iframe src=//evil.example>",
    "javascript:alert(1)",
    "{{ 7*7 }}{% raw %}",
    "<svg/onload=alert(1)>",
    "<!--",
    "&lt;b&gt;&#60;",
    "\u202egnp.exe",
]
_ELEMENTS = {
    "a", "bdi", "body", "br", "button", "circle", "code", "datalist", "dd", "details", "div", "dl",
    "dt", "em", "fieldset", "form", "g", "h1", "h2", "h3", "head", "header", "html", "input",
    "label", "legend", "li", "line", "link", "main", "meta", "nav", "noscript", "ol", "option", "p",
    "path", "rect", "script", "section", "select", "span", "strong", "summary", "svg", "table",
    "caption", "tbody", "td", "text", "textarea", "th", "thead", "time", "title", "tr", "ul",
    "doctype",
}  # fmt: skip


def is_link_to_a_commit(tag, given) -> bool:
    """Whether an element is what alone may lead elsewhere: to a page on the web."""
    is_web = (given.get("href") or "").startswith(("https://", "http://"))
    return tag == "a" and given.get("class") == "commit" and is_web and "noreferrer" in given["rel"]


class _Audit(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.faults: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in _ELEMENTS:
            self.faults.append(f"<{tag}>")
        given = dict(attrs)
        if is_link_to_a_commit(tag, given):
            given["href"] = "/"
        for name, value in given.items():
            if name.startswith("on") or name in ("style", "srcdoc"):
                self.faults.append(f"{tag} {name}")
            if name in ("href", "src", "action") and not (value or "").startswith(("/", "#")):
                self.faults.append(f"{tag} {name}={value}")
            if name in ("href", "src", "action") and (value or "").startswith("//"):
                self.faults.append(f"{tag} {name}={value}")
            if name == "id":
                self.ids.append(value)
        if tag == "script" and not given.get("src", "").startswith("/static/"):
            self.faults.append("inline script")
        is_seen = tag == "input" and given.get("type") != "hidden"
        if is_seen and not (given.get("id") or given.get("aria-label")):
            self.faults.append(f"input {given.get('name')} has no label")

    def handle_comment(self, data):
        self.faults.append(f"<!--{data}")


def faults_of(html: str) -> list[str]:
    """What a page has that none may have: inline code, foreign addresses, ids that occur twice."""
    audit = _Audit()
    audit.feed(html)
    audit.close()
    twice = {each for each in audit.ids if audit.ids.count(each) > 1}
    return audit.faults + [f"id {each} twice" for each in sorted(twice)]
