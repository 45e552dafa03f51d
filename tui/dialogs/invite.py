"""An invitation: shows the code, waits for whoever types it, and says who came."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Vertical

from p2pstore.control.faults import Failure
from tui import words
from tui.dialogs.box import Box
from tui.widgets.said import Said, assemble

if TYPE_CHECKING:
    from tui.link import Link


class Invite(Box[str]):
    """Leaves with the name of the machine that joined; leaving early withdraws the code."""

    def __init__(self, link: Link) -> None:
        super().__init__()
        self._link = link

    def compose(self) -> ComposeResult:
        """One text."""
        with Vertical(classes="box") as box:
            box.border_title = "Add a machine"
            yield Said(id="invitation")

    def on_mount(self) -> None:
        """Ask for a code."""
        super().on_mount()
        self.query_one(Said).say(assemble("\n asking for a code\n"))
        self.run_worker(self._invite())

    async def _invite(self) -> None:
        try:
            found: dict[str, Any] = await self._link.call("invite", {"role": "member", "ttl_s": 600.0})
            code = str(found["code"])
            self.query_one(Said).say(
                assemble(
                    "\n On the other machine, type:\n\n   ", (f"p2pstore join {code}", "bold $accent"),
                    "\n\n If it does not find this one:\n\n   ",
                    (f"p2pstore join {code} --at {found['address']}", "bold"),
                    f"\n\n The code works once, for {words.age(found['expires_s'])}; one wrong guess burns it."
                    "\n Who joins can read everything in this household.\n\n ",
                    ("waiting for it.", "bold"), "   ", ("esc", "bold $accent"), " withdraws the code",
                )
            )  # fmt: skip
            joined = await self._link.call("invite.wait", {"code": code}, timeout_s=None)
        except Failure as failure:
            fault = failure.fault
            self.query_one(Said).say(
                assemble(("\n " + fault.what, "bold $error"), f"\n {fault.why}\n\n ", ("esc", "bold $accent"), " leave")
            )
            return
        self.dismiss(str(joined["name"]))
