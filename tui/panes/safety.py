"""Safety: is my data safe right now, what does it wait for, and what to do next."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from p2pstore.control.faults import Failure
from tui import words
from tui.model import Model
from tui.panes.pane import Pane
from tui.widgets.said import Said, assemble

Parts = list[str | tuple[str, str]]

MEANINGS: Final = {
    "safe": "survive what was promised",
    "thin": "survive less than promised, but at least one failure",
    "risk": "survive no further failure",
    "lost": "cannot be read from the machines that count now",
}

QUESTIONS_MAX: Final = 5
"""What-ifs that are asked without being asked for: each looks at every stripe."""

ASK_EVERY_S: Final = 15.0
"""The counts are asked for again while this pane is in sight: computing them looks at every stripe."""


class SafetyPane(Pane):
    """The verdict in full."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "look_again", "look again", id="look_again"),
        Binding("c", "copy", "copy command", id="copy_next"),
        Binding("w", "what_if", "what if", id="what_if"),
        Binding("F", "repair", "repair now", id="repair"),
        Binding("T", "test_restore", "test restore", id="test_restore"),
    ]

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  Textual's name
        super().__init__(id=id)
        self._asked_s: float | None = None
        self._revision = -1
        self._next = "p2pstore safe"
        self._guesses: dict[str, dict[str, Any]] = {}
        self._wanted: list[str] = []

    def compose(self) -> ComposeResult:
        """One text that scrolls."""
        with VerticalScroll(id="safety-scroll"):
            yield Said(id="safety")

    def take_focus(self) -> None:
        """The text, so that it scrolls."""
        self.query_one(VerticalScroll).focus()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  Textual's
        """What the daemon cannot do is not offered."""
        needed = {"what_if": "peers.can-leave", "repair": "repair", "test_restore": "test-restore"}.get(action)
        return needed is None or self.home.model.knows(needed)

    def action_what_if(self) -> None:
        """Ask about machines that a person names."""
        self.home.actions.what_if(self._guess)

    def _guess(self, typed: str | None) -> None:
        if typed is not None:
            self._wanted = [*self._wanted, typed][-3:]
            self.action_look_again()

    def action_repair(self) -> None:
        """Repair what is due."""
        self.home.actions.repair()

    def action_test_restore(self) -> None:
        """Prove that files come back."""
        self.home.actions.test_restore()

    def action_look_again(self) -> None:
        """Have the verdict computed now."""
        self._asked_s = None
        self._guesses.clear()
        self.paint()

    def action_copy(self) -> None:
        """The command that helps next."""
        self.home.copy(self._next)

    def paint(self) -> None:
        """The text anew; counts are asked for when they are old."""
        model, now_s = self.home.model, self.home.now()
        stale = self._asked_s is None or now_s - self._asked_s > ASK_EVERY_S
        if model.standing.kind == "live" and (stale or self._revision != model.revision):
            self._asked_s, self._revision = now_s, model.revision
            self.run_worker(self._ask(), group="safe", exclusive=True)
        self._say()

    async def _ask(self) -> None:
        try:
            self.home.model.safe = await self.home.link.call("safe", timeout_s=120.0)
        except Failure as failure:
            self.home.complain(failure.fault)
            return
        self._say()
        if self.home.model.knows("peers.can-leave"):
            await self._ask_what_if()

    async def _ask_what_if(self) -> None:
        """Ask what would be left without each place, each machine that is away, and what a person named."""
        wanted = [*self._wanted, *_questions(self.home.model)]
        self._guesses = {one: answer for one, answer in self._guesses.items() if one in wanted}
        for words_asked in wanted:
            if words_asked in self._guesses:
                continue
            names = [name.strip() for name in words_asked.split(",") if name.strip()]
            try:
                answer = await self.home.link.call("safe", {"what_if": names}, timeout_s=120.0)
            except Failure as failure:
                self.home.complain(failure.fault)
                self._wanted = [one for one in self._wanted if one != words_asked]
                continue
            if isinstance(answer.get("what_if"), dict):
                self._guesses[words_asked] = answer["what_if"]
                self._say()

    def _say(self) -> None:
        model, glyphs = self.home.model, self.home.glyphs
        verdict = model.verdict(self.home.now())
        style = words.VARIABLES.get(verdict.state, "$foreground")
        ago = f"   {words.age(verdict.age_s)} ago" if verdict.age_s > words.STALE_AFTER_S else ""
        self._next, why = next_step(model, verdict.state)
        parts: Parts = [
            ("\n Is my data safe right now?\n\n", "bold"),
            " ", (f" {glyphs.of(verdict.state)} {verdict.state.upper()} ", f"bold {style} reverse"),
            f"  {verdict.sentence}", (ago, "$foreground-muted"), "\n",
        ]
        parts += _counts(model.safe, glyphs)
        parts += _folders(model.safe, glyphs)
        parts += _what_ifs(self._guesses, model, glyphs)
        parts += _proof(model.safe, self.home.now(), glyphs)
        parts += _waits(model, glyphs)
        parts += [("\n Next\n", "bold"), f"   {why}\n", "   ", (self._next, "bold $accent")]
        parts += [("     c copies it\n", "$foreground-muted")]
        if (computed_s := model.safe.get("computed_s")) is not None:
            age_s = float(computed_s) + verdict.age_s
            when = words.age(age_s) + ("" if age_s < 10 else " ago")
            twin = "The same as text: p2pstore safe --plain"
            parts.append((f"\n Computed from signed inventories, {when}. {twin}\n", "$foreground-muted"))
        self.query_one("#safety", Said).say(assemble(*parts))


def _counts(safe: dict[str, Any], glyphs: words.Glyphs) -> Parts:
    counts = safe.get("counts")
    if not isinstance(counts, dict) or not sum(counts.values()):
        return []
    total = sum(counts.values())
    parts: Parts = [(f"\n Pieces that large files are made of: {total:,}\n", "bold")]
    for state, meaning in MEANINGS.items():
        number = counts.get(state, 0)
        if not number and state != "safe":
            continue
        parts += [
            f" {number:>12,} ", (f"{glyphs.of(state)} {words.WORDS[state]:<4}", f"bold {words.VARIABLES[state]}"),
            f"  {meaning}\n",
        ]
    return parts


def _folders(safe: dict[str, Any], glyphs: words.Glyphs) -> Parts:
    folders = safe.get("folders") or []
    if not folders:
        return []
    parts: Parts = [("\n Folders\n", "bold")]
    for one in folders[:20]:
        state = str(one.get("state", "unknown"))
        path = one.get("path", b"")
        name = words.shown(path) if isinstance(path, bytes) else str(path)
        parts += ["   ", (f"{glyphs.of(state)} {words.WORDS.get(state, '?'):<4}", words.VARIABLES.get(state, "")),
                  f"  {name}  {one.get('sentence', '')}\n"]
    return parts


def _questions(model: Model) -> list[str]:
    """What is asked without being asked for: each place, and each machine that is away; the largest when none is."""
    sites = sorted({machine.site for machine in model.machines})
    away = [machine.name for machine in model.machines if not machine.is_here]
    others = sorted((one for one in model.machines if one.state != "self"), key=lambda one: -(one.used or 0))
    found = (away or [one.name for one in others])[:2] + (sites if len(sites) > 1 else [])
    return found[:QUESTIONS_MAX]


def _what_ifs(guesses: dict[str, dict[str, Any]], model: Model, glyphs: words.Glyphs) -> Parts:
    if not guesses:
        return []
    sites = {machine.site for machine in model.machines}
    parts: Parts = [("\n What if\n", "bold")]
    for asked, answer in guesses.items():
        state = str(answer.get("state", "unknown"))
        what = f"everything at {asked} is lost" if asked in sites else f"{asked} never comes back"
        mark = (f"{glyphs.of(state)} {words.WORDS.get(state, '?'):<4}", f"bold {words.VARIABLES.get(state, '')}")
        parts += [f"   {what:<34} ", mark, f"  {answer.get('sentence', '')}\n"]
    return parts


def _proof(safe: dict[str, Any], now_s: float, glyphs: words.Glyphs) -> Parts:
    """When it was last shown that what is counted is there and can be read."""
    if "test_restore" not in safe:
        return []
    drill, scrubbed = safe.get("test_restore"), safe.get("scrubbed")
    good, missing = (glyphs.safe, "$success"), (glyphs.thin, "$warning")
    parts: Parts = [("\n Proof\n", "bold"), "   "]
    if isinstance(drill, dict):
        bad = int(drill.get("failed_count", 0))
        files = words.count(int(drill.get("files", 0)), "file")
        text = f" {files} read back whole{_ago(drill.get('at'), now_s)}" + (f", {bad:,} failed" if bad else "")
        parts += [(glyphs.risk, "$error") if bad else good, text + "\n   "]
    else:
        parts += [missing, " no file has been read back as a test yet: T does it\n   "]
    if scrubbed:
        parts += [good, f" every shard on this disk was checked{_ago(scrubbed, now_s)}\n"]
    else:
        parts += [missing, " the shards on this disk have not been checked once around yet\n"]
    return parts


def _ago(at_s: Any, now_s: float) -> str:
    age = words.age(max(0.0, now_s - float(at_s or now_s)))
    return ", just now" if age == "now" else f", {age} ago"


def _waits(model: Model, glyphs: words.Glyphs) -> Parts:
    away = [machine for machine in model.machines if not machine.is_here]
    owed = int(model.overview.get("owed", 0))
    store = model.overview.get("store") or {}
    parts: Parts = []
    for machine in away:
        heard = "not heard since the daemon started"
        if machine.heard_s is not None:
            heard = f"away for {words.age(machine.heard_s)}"
        parts += ["   ", (glyphs.away, "$warning"), f" {machine.name}: {heard}\n"]
    if owed:
        what = f" {words.count(owed, 'piece')} to be placed better; the daemon is at it\n"
        parts += ["   ", (glyphs.half, "$warning"), what]
    if damaged := int(store.get("damaged", 0)):
        parts += ["   ", (glyphs.risk, "$error"), f" {words.count(damaged, 'shard')} on this disk found damaged\n"]
    if store.get("state") not in (None, "accepting"):
        parts += ["   ", (glyphs.risk, "$warning"), f" this machine's store is {store['state']}\n"]
    if len(model.machines) == 1:
        parts += ["   ", (glyphs.risk, "$error"), " a second machine: nothing survives the loss of the only one\n"]
    if not parts:
        parts = ["   nothing\n"]
    return [("\n Waits for\n", "bold"), *parts]


def next_step(model: Model, state: str) -> tuple[str, str]:
    """(command, why): the one thing that helps most."""
    if model.standing.kind in ("gone", "none"):
        return "p2pstore up", "the daemon must run before anything else"
    machines = model.machines
    away = [machine.name for machine in machines if not machine.is_here]
    if len(machines) == 1:
        return "p2pstore invite", "add a machine: data that exists once is one disk failure from gone"
    if away and state != "safe":
        return "p2pstore peers", f"switch on, if you can: {', '.join(away[:3])}{' and others' if len(away) > 3 else ''}"
    if state in ("risk", "lost", "unknown"):
        return "p2pstore doctor", "let it look for what is wrong"
    if state == "thin":
        return "p2pstore safe", "nothing to do: the daemon goes on placing; look again in a while"
    return "p2pstore doctor", "nothing to do; a look now and then does no harm"
