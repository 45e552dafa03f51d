"""Machines: who is here, how full, how fast; and what the one under the cursor is."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tui import words
from tui.model import Machine
from tui.panes.pane import Pane
from tui.widgets.rows import Piece, Row, Rows, columns
from tui.widgets.said import Said, assemble

GAUGE: int = 10


class MachinesPane(Pane):
    """The household's machines."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("a", "app.invite", "add a machine", id="invite"),
        Binding("e", "rename", "rename", id="rename_machine"),
        Binding("s", "site", "place", id="site"),
        Binding("L", "retire", "let it leave", id="retire_machine"),
        Binding("R", "remove", "remove", id="remove_machine"),
        Binding("c", "copy", "copy command", show=False, id="copy_machine"),
    ]

    def compose(self) -> ComposeResult:
        """A header, the machines, and what the one under the cursor is."""
        yield Said(id="machines-header", classes="header")
        yield Rows(self.home.glyphs, id="machines")
        yield Said(id="machine-detail", classes="detail")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  Textual's
        """What the daemon cannot do is not offered."""
        operations = {
            "rename": "peers.rename", "site": "peers.site", "retire": "peers.retire", "remove": "peers.forget",
        }  # fmt: skip
        needed = operations.get(action)
        return needed is None or self.home.model.knows(needed)

    def action_rename(self) -> None:
        """Another name."""
        if (machine := self._chosen()) is not None:
            self.home.actions.rename_machine(machine.name)

    def action_site(self) -> None:
        """Another place."""
        if (machine := self._chosen()) is not None:
            self.home.actions.move_machine(machine.name, machine.site)

    def action_retire(self) -> None:
        """Out of the household in good order, when confirmed."""
        if (machine := self._chosen()) is not None:
            self.home.actions.retire_machine(machine.name)

    def action_remove(self) -> None:
        """Out of the household, when confirmed."""
        if (machine := self._chosen()) is not None:
            self.home.actions.remove_machine(machine)

    def action_copy(self) -> None:
        """The command that tells whether it can be missed."""
        if (machine := self._chosen()) is not None:
            self.home.copy(f"p2pstore peers can-leave {machine.name}")

    def _chosen(self) -> Machine | None:
        key = self.query_one(Rows).key
        return next((each for each in self.home.model.machines if each.peer_id == key), None)

    def take_focus(self) -> None:
        """The list."""
        self.query_one(Rows).focus()

    def on_rows_highlighted(self, _message: Rows.Highlighted) -> None:
        """Another machine's details."""
        self._paint_detail()

    def paint(self) -> None:
        """All machines anew."""
        wide = self.app.size.width >= 100
        machines = self.home.model.machines
        header: list[Piece] = [("machine", "dim"), ("where", "dim"), ("link", "dim"), ("heard", "dim")]
        header += [("used of given", "dim")]
        if wide:
            header += [("", "dim"), ("role", "dim"), ("kind", "dim")]
        cells = [header, *(self._cells(machine, wide=wide) for machine in machines)]
        lines = columns(cells)
        titles = "   " + "".join(text for text, _ in lines[0])
        self.query_one("#machines-header", Said).say(assemble((titles, "bold $foreground-muted")))
        rows = [
            Row(machine.peer_id, (self._mark(machine), *line))
            for machine, line in zip(machines, lines[1:], strict=True)
        ]
        self.query_one(Rows).show(rows, empty=" nothing known yet: the daemon has not answered")
        self._paint_detail()

    def _mark(self, machine: Machine) -> Piece:
        glyphs = self.home.glyphs
        return (f" {glyphs.here} ", "safe") if machine.is_here else (f" {glyphs.away} ", "thin")

    def _cells(self, machine: Machine, *, wide: bool) -> list[Piece]:
        glyphs = self.home.glyphs
        if machine.state == "self":
            link, heard = "this one", ""
        elif machine.state == "linked":
            link, heard = f"{machine.rtt_ms:.1f} ms" if machine.rtt_ms is not None else "linked", "now"
        else:
            link, heard = "away", words.age(machine.heard_s) + (" ago" if machine.heard_s is not None else "")
        if machine.leaving is not None:
            link = words.leaving(machine.leaving)
        tone = "" if machine.is_here else "dim"
        used, given = machine.used, machine.capacity
        amount = f"{words.size(used) or '?':>5} / {words.size(given) or '?'}"
        name_tone = "bold" if machine.is_here else "dim"
        cells = [(machine.name, name_tone), (machine.site, tone), (link, tone), (heard, tone), (amount, tone)]
        if wide:
            gauge = words.gauge(GAUGE, used / given, glyphs) if used is not None and given else ""
            cells += [(gauge, tone), (machine.role, tone), (machine.steadiness, tone)]
        return cells

    def _paint_detail(self) -> None:
        model = self.home.model
        machine = self._chosen()
        parts: list[str | tuple[str, str]] = []
        if machine is not None:
            parts = [
                (f" {machine.name}", "bold"), f"  {machine.role}, {machine.steadiness}, at {machine.site}\n",
                (" address ", "$foreground-muted"), machine.address or "not known yet", "\n",
                (" id      ", "$foreground-muted"), machine.peer_id[:32], "\n",
            ]
            if machine.leaving is not None:
                parts.append(("\n " + words.leaving_sentence(machine.leaving), "$warning"))
            elif not machine.is_here:
                what = "It is away. Its shards count for a while: a machine that sleeps is not lost."
                parts.append(("\n " + what, "$warning"))
        if len(model.machines) == 1:
            parts.append(("\n This is the only machine: what it has exists once.  a invites another.", "$warning"))
        self.query_one("#machine-detail", Said).say(assemble(*parts))
