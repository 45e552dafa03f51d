from __future__ import annotations

from xml.etree import ElementTree as ET

from simulations.page import page
from simulations.report import report, sparkline
from simulations.run import Result, run_plan
from simulations.schedule import Plan, Work
from simulations.swarm import household


def test_a_sparkline_shows_the_worst_of_what_it_has_no_room_for() -> None:
    assert sparkline([0, 1, 2, 3], width=4) == "▁▃▆█"
    assert sparkline([1] * 50 + [9] + [1] * 50, width=10).count("█") == 1
    assert sparkline([5, 5], width=4) == "▁▁"
    assert sparkline([], width=4) == ""


def test_a_report_shows_how_it_went_and_how_to_play_it_again() -> None:
    result: Result = run_plan(Plan("short", 1, household(2), Work(20.0, 4), 60.0, 300.0))
    text = report(result, replay="p2pstore sim replay <x>")
    assert "every invariant held" in text
    assert "again: p2pstore sim replay <x>" in text
    assert len(result.history.at_s) == len(result.history.margin) > 5
    whole = page(result, replay="p2pstore sim replay <x>")
    assert "sim replay &lt;x&gt;" in whole
    assert "http" not in whole.replace("http://www.w3.org/2000/svg", "")
    pictures = [each.split("</svg>")[0] for each in whole.split("<svg")[1:]]
    assert len(pictures) == 4
    assert all(ET.fromstring(f"<svg{each}</svg>") is not None for each in pictures)
