"""The app: owns the connection and the panes, paints at most four times a second. What to do is in `actions`.

Dialogs are imported when they are first wanted: they are a fifth of the time that a start takes.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from textual.app import App, ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.dom import DOMNode
from textual.screen import Screen
from textual.timer import Timer

from p2pstore.control.faults import Failure, Fault
from tui import keys, themes, words
from tui.actions import Actions
from tui.link import Connect, Link
from tui.model import Model, Standing, Transfer
from tui.palette import Commands
from tui.panes.activity import ActivityPane, transfer_pieces
from tui.panes.files import FilesPane
from tui.panes.history import HistoryPane
from tui.panes.machines import MachinesPane
from tui.panes.pane import Pane
from tui.panes.safety import SafetyPane
from tui.widgets.keyline import KeyLine
from tui.widgets.listing import Listing
from tui.widgets.rows import Rows
from tui.widgets.said import Said, assemble
from tui.widgets.status import Tabs, banner, headline
from tui.words import Glyphs

if TYPE_CHECKING:
    from tui.dialogs.first_run import Run
    from tui.stage import Stage

PAINT_EVERY_S: Final = 0.25
"""Four paints a second: more is not seen, and costs a tenth of a core (facts)."""

AGE_EVERY_S: Final = 10.0
"""Ages on the screen are looked at again this often; nothing is written where they have not changed."""

MOVING_ROWS: Final = 3
ROWS_FOR_MOVING: Final = 30
"""On fewer lines the transfers are a counter in the status line."""

PANES: Final[dict[str, type[Pane]]] = {
    "Files": FilesPane,
    "Machines": MachinesPane,
    "Activity": ActivityPane,
    "Safety": SafetyPane,
    "History": HistoryPane,
}


class P2pApp(App[None]):
    """The terminal face of one machine's daemon.

    Args:
        home: the household's folder.
        connect: makes a connection; by default to the daemon of `home`.
        glyphs: the character set.
        theme: the colours to begin with.
        pane: the pane to begin with.
        now: wall time.
        run: runs a `p2pstore` command: (exit code, answer).
        stage: machines that are there to be killed and brought back; a real household has none.
    """

    CSS_PATH = "app.tcss"
    TITLE = "p2pstore"
    COMMANDS: ClassVar[set[Any]] = {lambda: Commands}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("u", "start_daemon", "start the daemon", id="start_daemon"),
        Binding("question_mark", "help", "help", id="help"),
        Binding("slash", "find", "find", show=False, id="find"),
        *[
            Binding(str(number), f"pane('{name}')", name, show=False, id=f"pane_{name.lower()}")
            for number, name in enumerate(PANES, 1)
        ],
        Binding("K", "stage('kill')", "kill a machine", id="stage_kill"),
        Binding("B", "stage('bring_back')", "bring one back", id="stage_back"),
        Binding("W", "stage('wipe')", "burn one", id="stage_burn"),
        Binding("ctrl+p,colon", "command_palette", "commands", show=False, id="commands"),
        Binding("q,ctrl+q", "quit", "quit", show=False, id="quit"),
        Binding("ctrl+c", "quit", "quit", show=False, priority=True, system=True, id="quit_now"),
    ]

    def __init__(
        self,
        home: Path,
        *,
        connect: Connect | None = None,
        glyphs: Glyphs = words.UNICODE,
        theme: str = themes.DEFAULT,
        pane: str = "Files",
        now: Callable[[], float] = time.time,
        run: Run | None = None,
        stage: Stage | None = None,
    ) -> None:
        super().__init__()
        self.stage = stage
        self.home_path = home
        self.glyphs = glyphs
        self.now = now
        self.model = Model(Standing("connecting", now()))
        self.link = Link(connect or self._connect, self.model, now=now, changed=self.touch)
        self.actions = Actions(self)
        self.run_p2pstore = run or self._run
        self._pane_name = pane
        self._painted_s = 0.0
        self._paint_timer: Timer | None = None
        for each in themes.THEMES:
            self.register_theme(each)
        self.theme = theme if theme in self.available_themes else themes.DEFAULT
        self.set_class(not glyphs.blocks, "ascii")

    async def _run(self, arguments: Sequence[str]) -> tuple[int, dict[str, Any]]:
        from tui.dialogs.first_run import run_command

        return await run_command(self.home_path, arguments)

    async def _connect(self) -> Any:
        from p2pstore.control.aio import AsyncClient

        return await AsyncClient.connect(self.home_path)

    # --- shell ------------------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Verdict, tabs, banner, pane, transfers, keys. Panes are made when they are first wanted."""
        if self.stage is not None:
            yield Said(id="stage")
        yield Said(id="status")
        yield Tabs(list(PANES), id="tabs")
        yield Said(id="banner")
        yield Container(id="panes")
        yield Said(id="moving")
        yield KeyLine(self.glyphs, id="keys")

    async def on_mount(self) -> None:
        """Show the first pane, begin to listen."""
        self._read_keys()
        await self.action_pane(self._pane_name)
        self.screen.bindings_updated_signal.subscribe(self, self._paint_keys)
        self.set_interval(AGE_EVERY_S, self.touch)
        self.run_worker(self.link.run(), group="link", exit_on_error=True)

    def _read_keys(self) -> None:
        kinds: tuple[type[DOMNode], ...] = (P2pApp, Listing, Rows, *PANES.values())
        known = frozenset(
            binding.id
            for kind in kinds
            for binding in kind.BINDINGS
            if isinstance(binding, Binding) and binding.id
        )
        keymap, complaints = keys.read_keymap(self.home_path, known)
        if keymap:
            self.set_keymap(keymap)
        for complaint in complaints:
            self.notify(complaint, severity="warning", markup=False)

    @property
    def files(self) -> FilesPane:
        """The files' pane."""
        return self.main.query_one(FilesPane)

    @property
    def main(self) -> Screen[Any]:
        """The screen below all dialogs."""
        return self.screen_stack[0]

    async def action_pane(self, name: str) -> None:
        """Show another pane."""
        panes = self.main.query_one("#panes", Container)
        wanted = f"pane-{name.lower()}"
        found = panes.query(f"#{wanted}")
        if not found:
            await panes.mount(PANES[name](id=wanted))
        for pane in panes.query(Pane):
            pane.display = pane.id == wanted
        self._pane_name = name
        shown = self._pane
        assert shown is not None
        shown.take_focus()
        self._paint()

    @property
    def _pane(self) -> Pane | None:
        found = self.main.query(f"#pane-{self._pane_name.lower()}")
        return found.first(Pane) if found else None

    async def on_tabs_chosen(self, message: Tabs.Chosen) -> None:
        """A click on a tab."""
        await self.action_pane(message.name)

    def on_resize(self) -> None:
        """Other widths, other words."""
        self.touch()
        self.call_after_refresh(self._paint_keys, self.screen)

    # --- painting ---------------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Something has changed: paint soon, but not more often than four times a second."""
        if self._paint_timer is None:
            wait_s = max(0.0, self._painted_s + PAINT_EVERY_S - time.monotonic())
            self._paint_timer = self.set_timer(max(0.01, wait_s), self._paint)

    @property
    def will_paint(self) -> bool:
        """Whether something waits to be painted."""
        return self._paint_timer is not None

    def _paint(self) -> None:
        if self._paint_timer is not None:
            self._paint_timer.stop()
            self._paint_timer = None
        self._painted_s = time.monotonic()
        if not self.is_running or not self.screen_stack or not self.main.query("#status"):
            return
        now_s = self.now()
        self.model.measure(now_s)
        width = self.size.width
        main = self.main
        main.query_one("#status", Said).say(headline(self.model, now_s, width, self.glyphs))
        if self.stage is not None:
            from tui.stage import stage_line

            main.query_one("#stage", Said).say(stage_line(self.stage, width, self.glyphs))
        main.query_one(Tabs).show(self._pane_name)
        warning = banner(self.model, now_s, self.glyphs)
        if self.stage is not None and self.model.standing.kind == "gone":
            warning = assemble((" the machine whose screens these are does not run: B brings it back", "bold $warning"))
        line = main.query_one("#banner", Said)
        line.set_class(warning is not None, "shown")
        if warning is not None:
            line.say(warning)
        self._paint_moving(now_s, width)
        if (pane := self._pane) is not None:
            pane.paint()
        self._follow_standing()
        if self.model.running:
            self.touch()  # rates and times go on changing

    def _paint_moving(self, now_s: float, width: int) -> None:
        running = self.model.running[:MOVING_ROWS]
        box = self.main.query_one("#moving", Said)
        shown = bool(running) and self.size.height >= ROWS_FOR_MOVING and self._pane_name != "Activity"
        box.set_class(shown, "shown")
        if not shown:
            return
        parts: list[str | tuple[str, str]] = []
        tones = {"bold": "bold", "dim": "$foreground-muted", "safe": "$success", "bad": "$error"}
        for number, transfer in enumerate(running):
            pieces = transfer_pieces(transfer, width, now_s, self.glyphs)
            parts += ["\n"] if number else []
            parts += [(text, tones.get(tone, "")) for text, tone in pieces]
        box.say(assemble(*parts))

    _stood: str = ""
    _known: object = None

    def _follow_standing(self) -> None:
        kind, operations = self.model.standing.kind, self.model.overview.get("operations")
        if operations != self._known:
            self._known = operations
            self.refresh_bindings()
        if kind == self._stood:
            return
        before, self._stood = self._stood, kind
        self.refresh_bindings()
        if kind == "none":
            from tui.dialogs.first_run import FirstRun

            self.push_screen(FirstRun(self.home_path, self.glyphs, self.run_p2pstore), self._after_first_run)
        elif kind == "live" and before == "gone":
            self.files.forget()
            self.touch()
            self.notify("the daemon is back")

    def _after_first_run(self, done: bool | None) -> None:
        if done:
            self.link.hurry()
        self._stood = ""

    def _paint_keys(self, screen: Screen[Any]) -> None:
        if screen is self.main:
            self.main.query_one(KeyLine).show(screen)

    # --- for the panes ----------------------------------------------------------------------------------------------

    async def link_call(self, op: str, args: Mapping[str, Any]) -> Any:
        """Ask the daemon."""
        return await self.link.call(op, args)

    def complain(self, fault: Fault) -> None:
        """What, why, and what to type."""
        lines = [line for line in (fault.why, *(f"type: {line}" for line in fault.fix[:2])) if line]
        self.notify("\n".join(lines) or " ", title=fault.what, severity="error", timeout=12, markup=False)

    def copy(self, text: str) -> None:
        """Into the terminal's clipboard; said as well, for terminals that have none."""
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")  # no terminal takes half a character
        self.copy_to_clipboard(text)
        self.notify(text, title="copied", markup=False)

    async def show_file(self, path: bytes) -> None:
        """Go to a file."""
        await self.action_pane("Files")
        try:
            found = await self.files.listing.go_to(path)
        except Failure as failure:
            self.complain(failure.fault)
            return
        if not found:
            self.notify(f"{words.shown(path)} is not there any more", markup=False)

    def ask_get(self, paths: Sequence[bytes]) -> None:
        """Fetch."""
        self.actions.get(paths)

    def ask_put(self, folder: bytes) -> None:
        """Store."""
        self.actions.put(folder)

    def ask_mkdir(self, folder: bytes) -> None:
        """Make a folder."""
        self.actions.mkdir(folder)

    def ask_move(self, paths: Sequence[bytes]) -> None:
        """Rename or move."""
        self.actions.move(paths)

    def ask_trash(self, paths: Sequence[bytes]) -> None:
        """Put into the trash."""
        self.actions.trash(paths)

    def ask_restore(self, path: bytes, number: int) -> None:
        """Bring a version back."""
        self.actions.restore(path, number)

    def put_back(self, path: bytes) -> None:
        """Out of the trash."""
        self.actions.put_back([path])

    def ask_stop(self, transfer: Transfer) -> None:
        """End a transfer."""
        self.actions.stop(transfer)

    # --- keys -------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002  Textual's
        """The daemon is started only where none runs."""
        if action == "start_daemon":
            return self.model.standing.kind == "gone" and self.stage is None
        if action == "stage":
            return self.stage is not None
        needed = {"find": "search", "invite": "invite"}.get(action)
        return needed is None or self.model.knows(needed)

    def action_find(self) -> None:
        """Look for files by name."""
        from tui.dialogs.find import Find

        self.push_screen(Find(self.link, self.glyphs), self._found)

    async def _found(self, path: bytes | None) -> None:
        if path is not None:
            await self.show_file(path)

    def action_start_daemon(self) -> None:
        """Start the daemon."""
        starting = self.actions.start_daemon(self.run_p2pstore)
        self.run_worker(starting, group="start", exclusive=True)

    def action_stage(self, deed: str) -> None:
        """Do something to a machine of the stage."""
        self.actions.on_stage(deed)

    def action_invite(self) -> None:
        """Invite a machine."""
        from tui.dialogs.invite import Invite

        self.push_screen(Invite(self.link), self._joined)

    def _joined(self, name: str | None) -> None:
        if name:
            self.notify(f"{name} has joined", markup=False)

    def action_help(self) -> None:
        """The keys of what has the focus."""
        from tui.dialogs.help import Help, groups_of

        if len(self.screen_stack) == 1:
            self.push_screen(Help(groups_of(self.screen, self.glyphs), f"Keys: {self._pane_name}"))

    async def action_quit(self) -> None:
        """Leave. Uploads go on in the daemon; a download would end, so that is asked."""
        from tui.dialogs.confirm import Confirm

        if not self.actions.fetching or isinstance(self.screen, Confirm):
            self.exit()
            return
        lines = [
            f"{words.count(self.actions.fetching, 'download')} begun here would stop.",
            "Uploads go on in the daemon either way.",
        ]
        self.push_screen(Confirm("Leave now?", lines, "leave"), lambda sure: self.exit() if sure else None)

    def get_system_commands(self, screen: Screen[Any]) -> Any:  # noqa: ARG002  Textual's signature
        """Textual's own commands are not offered: ours are all in `palette`."""
        return iter(list[SystemCommand]())


def run(
    home: Path, *, ascii_only: bool = False, theme: str | None = None, pane: str = "Files", stage: Stage | None = None
) -> int:
    """Run the app until a person leaves it. Returns the exit code."""
    environ = dict(os.environ)
    warnings.simplefilter("ignore")  # Textual paints on standard error: a warning there would corrupt the screen
    glyphs = words.ASCII if ascii_only or themes.wants_ascii(environ) else words.UNICODE
    app = P2pApp(home, glyphs=glyphs, theme=theme or themes.for_terminal(environ), pane=pane, stage=stage)
    app.run()
    return app.return_code or 0
