"""What the app does on request: asks what is missing, and if it is meant, tells the daemon, says what came of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from p2pstore.control.faults import Failure, Fault
from tui import words
from tui.dialogs.ask import Ask, local_matches
from tui.dialogs.confirm import Confirm
from tui.model import Transfer

if TYPE_CHECKING:
    from tui.app import P2pApp

NAMES_SHOWN: Final = 5


class Actions:
    """Requests of a person, each begun by a key and ended by a notice."""

    def __init__(self, app: P2pApp) -> None:
        self._app = app
        self.fetching = 0
        """Downloads that end when this program does."""

    def do(self, op: str, args: Mapping[str, Any], done: Callable[[Any], str]) -> None:
        """Ask the daemon and say what came of it."""
        self._app.run_worker(self._do(op, args, done), group="actions", exit_on_error=False)

    async def _do(self, op: str, args: Mapping[str, Any], done: Callable[[Any], str]) -> None:
        try:
            result = await self._app.link.call(op, args, timeout_s=None if op in ("put", "get") else 60.0)
        except Failure as failure:
            self._app.complain(failure.fault)
            return
        if said := done(result):
            self._app.notify(said, markup=False)

    # --- in and out -------------------------------------------------------------------------------------------------

    def put(self, folder: bytes) -> None:
        """Ask for a local path and store it in `folder`."""

        def go(answer: str | None) -> None:
            if answer is None:
                return
            path = os.path.abspath(os.path.expanduser(answer))
            source = {"path": os.fsencode(path), "name": os.fsencode(os.path.basename(path.rstrip("/"))) or None}
            args = {"destination": folder, "sources": [source], "recursive": True, "ack": "safe", "into": True}
            self._app.notify(f"storing {path}: 3 shows how far it is", markup=False)
            self.do("put", args, self._stored)

        hint = f"A file or folder of this machine; it goes into {words.shown(folder)}"
        start = os.getcwd().rstrip("/") + "/"
        self._app.push_screen(Ask("Store", hint, start, complete=local_matches, check=_must_exist), go)

    def _stored(self, result: Mapping[str, Any]) -> str:
        self._list_failed(result)
        if not result["files"]:
            return ""
        return f"stored {words.count(result['files'], 'file')}, {words.size(result['bytes'])}. {result['sentence']}"

    def get(self, paths: Sequence[bytes]) -> None:
        """Ask for a local folder and fetch into it; a file that is there already is replaced only when confirmed."""

        def go(answer: str | None) -> None:
            if answer is None:
                return
            folder = os.path.abspath(os.path.expanduser(answer))
            taken = [name for name in (words.name_of(path) for path in paths)
                     if os.path.lexists(os.path.join(os.fsencode(folder), name))]  # fmt: skip
            if not taken:
                self._fetch(paths, folder)
                return
            lines = [f"In {folder} there are already:", *_names(taken), "", "Files of the same name would be replaced."]
            self._app.push_screen(
                Confirm("Replace what is there?", lines, "replace"),
                lambda sure: self._fetch(paths, folder) if sure else None,
            )

        hint = f"A folder of this machine for {_named(paths)}"
        start = os.getcwd().rstrip("/") + "/"
        self._app.push_screen(Ask("Get", hint, start, complete=local_matches, check=_must_be_folder), go)

    def _fetch(self, paths: Sequence[bytes], folder: str) -> None:
        args = {"sources": list(paths), "destination": os.fsencode(folder), "recursive": True, "into": True}
        self._app.notify(f"fetching into {folder}: 3 shows how far it is", markup=False)
        self._app.run_worker(self._fetching(args), group="actions", exit_on_error=False)

    async def _fetching(self, args: Mapping[str, Any]) -> None:
        self.fetching += 1
        try:
            await self._do("get", args, self._fetched)
        finally:
            self.fetching -= 1

    def _fetched(self, result: Mapping[str, Any]) -> str:
        self._list_failed(result)
        if not result["files"]:
            return ""
        return f"fetched {words.count(result['files'], 'file')}, {words.size(result['bytes'])}"

    def _list_failed(self, result: Mapping[str, Any]) -> None:
        failed = result["failed"]
        if not failed:
            return
        lines = [f"{words.shown(one['path'])}: {one['what']}" for one in failed[:NAMES_SHOWN]]
        more = [f"and {len(failed) - NAMES_SHOWN:,} more"] if len(failed) > NAMES_SHOWN else []
        self._app.notify(
            "\n".join([*lines, *more]), title=f"{words.count(len(failed), 'thing')} failed", severity="error",
            timeout=15, markup=False,
        )  # fmt: skip

    def stop(self, transfer: Transfer) -> None:
        """End a transfer, when confirmed."""
        lines = [transfer.title, "", "What is stored so far stays; the same command goes on where it stopped."]
        self._app.push_screen(
            Confirm("Stop this transfer?", lines, "stop it"),
            lambda sure: self.do("transfer.stop", {"number": transfer.number}, lambda _: "stopped") if sure else None,
        )

    # --- names ------------------------------------------------------------------------------------------------------

    def mkdir(self, folder: bytes) -> None:
        """A new folder in `folder`."""

        def go(name: str | None) -> None:
            if name is not None:
                path = words.join(folder, os.fsencode(name))
                self.do("mkdir", {"path": path, "parents": True}, lambda _: f"made {words.shown(path)}")

        hint = f"Its name; it is made in {words.shown(folder)}"
        self._app.push_screen(Ask("New folder", hint, check=_must_be_name), go)

    def move(self, paths: Sequence[bytes]) -> None:
        """Another name for one thing, or another folder for several; nothing is replaced."""
        one = len(paths) == 1
        start = paths[0] if one else words.parent_of(paths[0])

        def go(answer: str | None) -> None:
            if answer is not None:
                target = os.fsencode(answer).rstrip(b"/") or b"/"
                into = not one or answer.endswith("/")
                self._app.run_worker(self._move(paths, target, into=into), group="actions", exit_on_error=False)

        hint = "Its new path; with / at the end, the folder it goes into" if one else f"The folder for {_named(paths)}"
        self._app.push_screen(
            Ask("Move", hint, os.fsdecode(start), check=_must_be_store_path, complete=self._store_matches), go
        )

    def _store_matches(self, typed: str) -> list[str]:
        wanted = os.fsencode(typed)
        return [os.fsdecode(path) for path in self._app.files.listing.at_hand() if path.startswith(wanted)]

    async def _move(self, paths: Sequence[bytes], target: bytes, *, into: bool) -> None:
        try:
            kind = await self._kind(target)
            if kind == "folder":
                into = True
            goals = [words.join(target, words.name_of(path)) if into else target for path in paths]
            for goal in goals:
                if goal not in paths and await self._kind(goal) is not None:
                    self._app.notify(f"{words.shown(goal)} exists already; nothing is replaced", severity="warning",
                                     markup=False)  # fmt: skip
                    return
        except Failure as failure:
            self._app.complain(failure.fault)
            return
        self._app.files.listing.unmark()
        await self._do(
            "mv", {"sources": list(paths), "destination": target, "into": into},
            lambda _: f"moved {_named(paths)} to {words.shown(target)}",
        )  # fmt: skip

    async def _kind(self, path: bytes) -> str | None:
        """"folder", "file", or None for nothing."""
        try:
            await self._app.link.call("page", {"path": path, "offset": 0, "limit": 1})
        except Failure as failure:
            if failure.fault.code == "not-found":
                return None
            if failure.fault.code == "not-a-folder":
                return "file"
            raise
        return "folder"

    def trash(self, paths: Sequence[bytes]) -> None:
        """To the trash, when confirmed."""
        entries = [self._app.files.listing.entry_of(path) for path in paths]
        folders = sum(entry is not None and entry.kind == "folder" for entry in entries)
        lines = [*_names(paths), ""]
        if folders:
            lines.append("Folders go with everything below them.")
        lines.append("It disappears on every machine. The bytes are not given up at once.")

        def go(sure: bool | None) -> None:
            if sure:
                self._app.files.listing.unmark()
                self.do("rm", {"paths": list(paths), "recursive": True}, lambda _: f"{_named(paths)} went to the trash")

        self._app.push_screen(Confirm("Put into the trash?", lines, "put it into the trash"), go)

    # --- the daemon -------------------------------------------------------------------------------------------------

    async def start_daemon(self, run: Callable[[Sequence[str]], Any]) -> None:
        """`p2pstore up`, in a process of its own."""
        self._app.notify("starting the daemon")
        try:
            code, answer = await run(["up"])
        except (TimeoutError, asyncio.CancelledError):
            code, answer = 1, {"what": "the daemon did not start in time"}
        if code:
            fix = tuple(str(line) for line in answer.get("fix") or ())
            self._app.complain(Fault("start-failed", str(answer.get("what", "")), str(answer.get("why", "")), fix))
        self._app.link.hurry()


def _names(paths: Sequence[bytes]) -> list[str]:
    shown = [f"  {words.shown(words.name_of(path))}" for path in paths[:NAMES_SHOWN]]
    return shown + ([f"  and {len(paths) - NAMES_SHOWN:,} more"] if len(paths) > NAMES_SHOWN else [])


def _named(paths: Sequence[bytes]) -> str:
    return words.shown(words.name_of(paths[0])) if len(paths) == 1 else words.count(len(paths), "thing")


def _must_exist(typed: str) -> str:
    return "" if os.path.lexists(os.path.expanduser(typed)) else "there is nothing of that name on this machine"


def _must_be_folder(typed: str) -> str:
    return "" if os.path.isdir(os.path.expanduser(typed)) else "there is no such folder on this machine"


def _must_be_name(typed: str) -> str:
    return "a name is not empty, has no zero byte and is not . or .." if typed in (".", "..") or "\0" in typed else ""


def _must_be_store_path(typed: str) -> str:
    return "" if typed.startswith("/") else "a path in the store begins with /"
