"""The pages about plugins and problems of the installation."""

from __future__ import annotations

from deploycore.server.dashboard.visit import Visit
from deploycore.server.rest import diagnosis


def test_plugins_are_listed_with_their_problems(browser, install_distribution):
    install_distribution("deploycore-broken", "broken", "raise ImportError('<b>no</b>')")
    page = browser.get("/plugins").text
    assert "acme" in page
    assert page.index('<h2 id="provider-title">Git hosts') < page.index("Sandboxes</h2>")
    assert ">Plain git</a>" in page
    assert "Github" not in page  # neither the plugin nor its sandbox
    assert "Any other git server that you can clone from" in page
    assert "Sets up webhooks, receives pushes, finds pull requests" in page
    assert page.index("Cannot be used") < page.index("Ready")
    assert "&lt;b&gt;no&lt;/b&gt;" in page
    assert "<b>no</b>" not in page


def test_findings_are_sorted_by_severity(browser, monkeypatch):
    async def ask(visit, method, path, **more):
        levels = ["ok", "problem", "warning"]
        texts = {"subject": "made up", "hint": ""}
        findings = [{**texts, "level": each, "message": f"is {each}"} for each in levels]
        return {"findings": findings, "problems": 1, "warnings": 1}

    monkeypatch.setattr(Visit, "ask", ask)
    page = browser.get("/doctor?offline=true").text
    assert page.index("is problem") < page.index("is warning") < page.index("is ok")


def test_the_doctor_page_lists_problems_first_with_their_hints(browser, installation):
    installation.settings.home.chmod(0o777)
    page = browser.get("/doctor?offline=true").text
    assert "chmod" in page
    assert page.index("badge busy") < page.index("badge good")
    found = browser.get("/api/v1/doctor", params={"offline": True}).json()
    assert found["warnings"] == page.count("badge busy")


def test_only_administrators_can_run_the_doctor(client, token):
    deploy = token("deploy")
    for path in ("/api/v1/plugins", "/api/v1/doctor"):
        assert client.get(path, headers=deploy).status_code == 403


def test_only_one_request_runs_checks_at_a_time(client, token, monkeypatch):
    class Taken:
        def acquire(self, timeout):
            return False

    monkeypatch.setattr(diagnosis, "_examining", Taken())
    answer = client.get("/api/v1/doctor", headers=token("admin"))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
