"""What Tab offers: verbs, options, paths in the store, machines, local files; and the script that asks for it in bash.

Imported only while a shell completes or prints its script. A daemon that is not there at once has no suggestions, and
is never started.
"""

from __future__ import annotations

import os
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from p2pstore.cli.paths import COMPLETION_LIMIT_S, StorePath
from p2pstore.cli.session import Session
from p2pstore.control.store_paths import PREFIX
from p2pstore.errors import P2PStoreError

# Other than click's own script: names with spaces and stars are quoted, a folder is not followed by a space, and bash's
# habit to cut words at ":" is undone.
BASH_SCRIPT = """\
%(complete_func)s() {
    local kind value word="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            part | plain)
                [[ $word == [\\"\\']* ]] || value=$(printf %%q "$value")
                COMPREPLY+=("$value")
                [[ $kind == plain ]] || compopt -o nospace ;;
        esac
    done < <(IFS=$'\\n'; env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" \\
        %(complete_var)s=bash_complete "$1" 2>/dev/null)
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""


class Bash(BashComplete):
    """Completion in bash 4.4 and later."""

    source_template = BASH_SCRIPT

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._cut = ""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one to complete, and that one, with `p2p` `:` `/x` put together again."""
        words = os.environ["COMP_WORDS"].split("\n")
        number = int(os.environ["COMP_CWORD"])
        joined: list[str] = []
        for i, word in enumerate(words[1 : number + 1]):
            follows = bool(joined) and i > 0 and joined[-1] in (PREFIX.decode(), PREFIX.decode().rstrip(":"))
            if follows and (word[:1] in (":", "/") or not word):
                self._cut = joined[-1] + (":" if word == ":" else "")
                joined[-1] += word
            else:
                self._cut = ""
                joined.append(word)
        *before, last = joined or [""]
        if not last.startswith(PREFIX.decode()):
            self._cut = ""
        return [_unquoted(word) for word in before], _unquoted(last)

    def format_completion(self, item: CompletionItem) -> str:
        """KIND,VALUE: `part` for what can be gone on with, without what bash takes for a word of its own."""
        value = str(item.value).removeprefix(self._cut) if self._cut else str(item.value)
        kind = "part" if item.type == "plain" and value.endswith("/") else item.type
        return f"{kind},{value}"


def _unquoted(word: str) -> str:
    """A word as the shell will read it, also one whose quote is still open."""
    from click.shell_completion import split_arg_string

    return " ".join(split_arg_string(word)) if word else ""


def register() -> None:
    """Use these classes."""
    add_completion_class(Bash)


# --- what is offered --------------------------------------------------------------------------------------------------


def machine_names(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Names of the household's machines."""
    session = ctx.find_object(Session)
    if session is None:
        return []
    try:
        with session.connect(timeout_s=COMPLETION_LIMIT_S) as client:
            peers = client.call("peers", timeout_s=COMPLETION_LIMIT_S)["peers"]
    except (P2PStoreError, OSError):
        return []
    return [
        CompletionItem(peer["name"], help=f"{peer['role']}, {peer['site']}")
        for peer in peers
        if peer["name"].startswith(incomplete) and peer["name"].isprintable()
    ]


def watched_folders(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Local paths of watched folders."""
    session = ctx.find_object(Session)
    if session is None:
        return []
    try:
        with session.connect(timeout_s=COMPLETION_LIMIT_S) as client:
            watches = client.call("watch", timeout_s=COMPLETION_LIMIT_S)["watches"]
    except (P2PStoreError, OSError):
        return []
    names = [(os.fsdecode(watch["local"]), watch) for watch in watches]
    return [
        CompletionItem(name, help=f"{watch['state']}, {os.fsdecode(watch['target'])}")
        for name, watch in names
        if name.startswith(incomplete) and name.isprintable()
    ]


def put_words(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Local files; once there is a source, paths in the store too."""
    local = [] if incomplete.startswith(PREFIX.decode()) else [CompletionItem(incomplete, type="file")]
    # A first word is taken for DST until there is a second; that it does not name anything in the store is no matter.
    if ctx.get_parameter_source("destination") is ParameterSource.COMMANDLINE or not local:
        stored: list[CompletionItem] = StorePath().shell_complete(ctx, param, incomplete)
        return stored or local
    return local


def get_words(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Paths in the store; once there is a source, local files too."""
    stored: list[CompletionItem] = StorePath().shell_complete(ctx, param, incomplete)
    if stored or not ctx.params.get("paths"):
        return stored
    return [CompletionItem(incomplete, type="file")]
