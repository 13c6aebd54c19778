"""The chart of an application's deployments."""

from __future__ import annotations

from deploycore.server.dashboard.chart import HEIGHT, WIDTH, chart_of


def deployment(number, state="healthy", **seconds):
    return {"id": number, "state": state, "seconds": seconds}


def test_a_single_deployment_has_no_chart():
    assert chart_of([deployment(1, fetching=2.0)]) is None


def test_bars_stay_inside_the_chart_and_show_each_phase():
    chart = chart_of([deployment(1, fetching=3.0, building=9.0), deployment(2, "failed")])
    whole, empty = chart.bars
    assert [part.series for part in whole.parts] == [3, 4]
    assert empty.has_failed
    assert not whole.has_failed
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= WIDTH
        assert all(0 <= part.y <= part.y + part.height <= HEIGHT for part in bar.parts)
