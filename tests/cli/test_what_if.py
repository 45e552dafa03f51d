"""sim what-if: the guide's example is what comes out, and every error names the key and what to write there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from p2pstore.cli.text import parse_size
from tests.cli.running_cli import Cli
from tests.cli.schema import load, problems

GUIDE = Path(__file__).parent.parent.parent / "docs" / "guides" / "before-you-buy-a-disk.md"

NAS = '[machines.nas]\nsite = "home"\nsize = "1T"\n'
TWO = NAS + '[machines.pc]\nsite = "home"\nsize = "1T"\n'


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def test_the_guide_shows_what_its_example_gives(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "household.toml"
    file.write_text(block("toml"))
    ran = cli("sim", "what-if", str(file))
    assert ran.code == 0, ran
    assert ran.text == block("text")


def test_the_topic_names_every_key_and_its_default(cli: Cli, tmp_path: Path) -> None:
    topic = cli("help", "what-if").text
    example = "\n".join(line for line in topic.splitlines() if line.startswith(("  promise", "  stored", "  [", "  ")))
    keys = [re.sub(r"\s{3,}.*", "", line.strip()) for line in example.splitlines() if "=" in line or "[" in line]
    file = tmp_path / "household.toml"
    file.write_text("\n".join(keys) + "\n" + TWO.replace("[machines.nas]", "[machines.other]"))
    ran = cli("sim", "what-if", str(file), "--json")
    assert ran.code == 0, ran
    taken = ran.last["assumptions"]
    nas, other = taken["machines"][:2]
    assert {**nas, "name": ""} == {**other, "name": ""}, "what the topic shows for the NAS is what is taken anyway"
    assert (taken["replaced_days"], taken["rebuild_mbit"]) == (14, 20)
    assert ran.last["data_bytes"] <= parse_size("1.5T")


@pytest.mark.parametrize(
    ("content", "what", "why"),
    [
        ("", "it has no machines", "[machines.nas]"),
        ("machines = 3", "machines is not made of parts", "[machines.NAME]"),
        ("promise =\n" + NAS, "it is not TOML", "line 1"),
        ('[machines.nas]\nsize = "1T"', "machines.nas has no site", 'site = "home"'),
        ('[machines.nas]\nsite = "home"', "machines.nas has no size", 'size = "4T"'),
        (NAS.replace("1T", "much"), "machines.nas.size is 'much'", '"4T"'),
        (NAS.replace('"1T"', "4"), "machines.nas.size is 4", "in quotes"),
        (NAS.replace("1T", "9999999999T"), "machines.nas.size is", "500G"),
        (NAS.replace("size", "szie"), "machines.nas.szie is not known", "did you mean size?"),
        (NAS + 'steadiness = "sometimes"', "machines.nas.steadiness is 'sometimes'", "'laptop'"),
        (NAS + "awake = 99", "machines.nas.awake is 99", "from 0 to 1"),
        (NAS + "awake = nan", "machines.nas.awake is nan", "from 0 to 1"),
        (NAS + "lost_yearly = true", "machines.nas.lost_yearly is True", "from 0 to 1"),
        ('promise = "any-9"\n' + NAS, "promise is 'any-9'", "any-2"),
        ("promise = 2\n" + NAS, "promise is 2", "in quotes"),
        ("stored = -1\n" + NAS, "stored is -1", "in quotes"),
        ("colour = 1\n" + NAS, "colour is not known", "promise"),
        (NAS + "[sites.hoem]\nlost_yearly = 0.1", "sites.hoem is not known", "did you mean home?"),
        (NAS + "[sites.home]\nlost_yearly = -1", "sites.home.lost_yearly is -1", "from 0 to 1"),
        ("rebuild_mbit = 0\n" + NAS, "rebuild_mbit is 0", "from 0.001"),
        ("".join(NAS.replace("nas", f"m{n}") for n in range(31)), "it has 31 machines", "at most 30"),
        ("#" * 300_000, "it is too long", "bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_the_key_and_what_to_write(
    content: str, what: str, why: str, cli: Cli, tmp_path: Path
) -> None:
    file = tmp_path / "household.toml"
    file.write_text(content)
    ran = cli("sim", "what-if", str(file), "--json")
    assert ran.code == 2
    assert problems(ran.last, load("error")) == []
    assert what in ran.last["what"]
    assert why in ran.last["why"]
    assert ran.last["fix"] == ["p2pstore help what-if"]


def test_a_promise_that_cannot_be_kept_is_exit_code_6_and_says_what_it_takes(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "household.toml"
    file.write_text('promise = "house"\n' + TWO)
    ran = cli("sim", "what-if", str(file))
    assert ran.code == 6
    assert "not possible: any one house" in ran.text
    assert "a machine with room at a second site" in ran.text


def test_plain_is_one_fact_on_a_line_without_drawing(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "household.toml"
    file.write_text(TWO)
    ran = cli("sim", "what-if", str(file), "--plain")
    assert ran.code == 0
    assert ran.out.isascii()
    assert all(": " in line for line in ran.text.splitlines())
    assert "survives_machines: 1" in ran.text


def test_no_more_than_two_digits_and_never_over_six_nines(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "household.toml"
    parts = "".join(NAS.replace("nas", f"m{n}").replace("home", f"s{n}") + "lost_yearly = 1e-6\n" for n in range(6))
    sites = "".join(f"[sites.s{n}]\nlost_yearly = 0\n" for n in range(6))
    file.write_text('promise = "any-2"\n' + parts + sites)
    ran = cli("sim", "what-if", str(file), "--json")
    assert ran.last["yearly_loss"]["capped"]
    assert (ran.last["yearly_loss"]["probability"], ran.last["yearly_loss"]["nines"]) == (1e-6, 6.0)
    assert "less than one in a million" in cli("sim", "what-if", str(file)).text
