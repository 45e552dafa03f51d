"""Activity: what moves, what was moved, and what the daemon says; with the command that does the same."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tui import words
from tui.model import Transfer
from tui.panes.pane import Pane
from tui.widgets.rows import Piece, Row, Rows
from tui.widgets.said import Said, assemble
from tui.words import Glyphs

TRANSFERS_SHOWN: Final = 8


def transfer_pieces(transfer: Transfer, width: int, now_s: float, glyphs: Glyphs) -> tuple[Piece, ...]:
    """One transfer in one line: what, how much of it is safe and sent, how fast, how long still."""
    arrow = glyphs.up if transfer.verb == "put" else glyphs.down
    bar_width = 20 if width >= 100 else 10
    if transfer.runs and not transfer.total_known:
        figures = f"counting{glyphs.ellipsis} {transfer.files_total:,} files"
        bar = ""
    elif transfer.runs and transfer.bytes_safe >= transfer.bytes_total:
        figures, bar = "all sent; until it is as safe as promised" if transfer.verb == "put" else "writing", ""
    elif transfer.runs:
        elapsed_s = max(0.1, now_s - transfer.began)
        rate = transfer.bytes_sent / elapsed_s
        left_s = (transfer.bytes_total - transfer.bytes_safe) / rate if rate > 0 else None
        share = int(100 * transfer.share(transfer.bytes_safe))
        figures = f"{share:3d}% safe  {words.size(rate)}/s"
        figures += f"  {words.duration(left_s)} left" if left_s is not None else ""
        bar = words.bar(bar_width, transfer.share(transfer.bytes_safe), transfer.share(transfer.bytes_sent), glyphs)
    else:
        assert transfer.ended is not None
        took_s = max(0.1, transfer.ended - transfer.began)
        figures = f"{words.count(transfer.files_done, 'file')}, {words.size(transfer.bytes_safe)} in {took_s:.1f} s"
        figures += f", {words.age(max(0.0, now_s - transfer.ended))}"
        figures += " ago" if now_s - transfer.ended >= 10 else ""
        bar = ""
    if transfer.failed:
        figures += f", {transfer.failed:,} failed"
    room = max(10, width - len(arrow) - 4 - len(bar) - 2 - len(figures) - 2)
    title = words.clip(transfer.title, room, glyphs)
    tone = "bad" if transfer.failed else "" if transfer.runs else "dim"
    title += " " * (room - len(title))
    title_tone = "bold" if transfer.runs else "dim"
    return ((f" {arrow} ", tone), (title + " ", title_tone), (bar + " ", "safe"), (" " + figures, tone))


class ActivityPane(Pane):
    """Transfers above, the log below."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "copy command", id="copy_command"),
        Binding("x", "stop", "stop transfer", id="stop_transfer"),
        Binding("tab", "app.focus_next", "other list", show=False, id="other_list"),
    ]

    def compose(self) -> ComposeResult:
        """Two lists with a line above each."""
        yield Said(id="transfers-header", classes="header")
        yield Rows(self.home.glyphs, id="transfers")
        yield Said(id="log-header", classes="header")
        log = Rows(self.home.glyphs, id="log")
        log.follows = True
        yield log

    def take_focus(self) -> None:
        """The transfers."""
        self.query_one("#transfers", Rows).focus()

    def paint(self) -> None:
        """Both lists."""
        model, now_s, glyphs = self.home.model, self.home.now(), self.home.glyphs
        width = self.app.size.width - 2
        transfers = sorted(model.transfers.values(), key=lambda one: (not one.runs, -one.number))[:50]
        running = len(model.running)
        self.query_one("#transfers-header", Said).say(
            assemble((f" {glyphs.both} {words.count(running, 'transfer')} under way", "bold"))
        )
        rows = self.query_one("#transfers", Rows)
        rows.show(
            [Row(str(one.number), transfer_pieces(one, width, now_s, glyphs)) for one in transfers],
            empty=" nothing has been moved since the daemon started",
        )
        rows.styles.height = min(TRANSFERS_SHOWN, max(1, len(transfers)))
        self.query_one("#log-header", Said).say(assemble((" What the daemon says", "bold")))
        lines = [
            Row(
                str(line.number),
                (
                    (f" {words.clock(line.at)} ", "dim"),
                    ("! " if line.level in ("warning", "error", "critical") else "  ", "thin"),
                    (line.text, "" if line.level == "info" else "thin"),
                ),
            )
            for line in model.log.values()
        ]
        self.query_one("#log", Rows).show(lines, empty=" nothing yet")

    def _transfer(self) -> Transfer | None:
        key = self.query_one("#transfers", Rows).key
        return self.home.model.transfers.get(int(key)) if key is not None else None

    def action_copy(self) -> None:
        """The command line that does the same as the transfer under the cursor; a line of the log as it is."""
        log = self.query_one("#log", Rows)
        if log.has_focus and log.key is not None:
            self.home.copy(self.home.model.log[int(log.key)].text)
        elif (transfer := self._transfer()) is not None:
            self.home.copy(transfer.command)

    def action_stop(self) -> None:
        """End the transfer under the cursor, when a person confirms it."""
        transfer = self._transfer()
        if transfer is None or not transfer.can_stop:
            self.app.notify("there is no transfer under way under the cursor")
            return
        self.home.ask_stop(transfer)
