"""The benchmark of Live's latency, with two small pictures each way."""

import pytest

from benchmarks import live_latency
from tests.browser import needs_chromium
from tests.prepared import Server

pytestmark = needs_chromium


def test_live_latency_measures_both_ways_and_compares_them(browser, capsys, tmp_path):
    models = tmp_path / "models"
    with Server(["--data-dir", str(tmp_path), *live_latency.prepare(models, has_sd_vae=False)]) as server:
        figures = live_latency.measure(browser, server, models, rounds=2, side=64)
    assert (figures["rounds"], figures["side"], figures["steps"], figures["debounce"]) == (2, 64, 4, 0.3)
    assert figures["bare"] > figures["vae"] > 0 and figures["draft"] > 0.3 and figures["tiny_decoder"] > 0
    assert figures["live"] > figures["debounce"]  # no run begins within it
    assert figures["ratio"] == pytest.approx((figures["live"] - 0.3) / figures["bare"])
    live_latency.report(figures)
    assert f"{figures['ratio']:.3f}   (to reach: 1.25 at most)" in capsys.readouterr().out
