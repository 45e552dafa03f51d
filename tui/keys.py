"""Rebindable keys: `keys.toml` in the household's folder, one line for each binding that should be another.

```toml
find = "ctrl+f"          # one key
quit = ["q", "ctrl+c"]   # or several
```
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

FILE_NAME: Final = "keys.toml"
FILE_BYTES_MAX: Final = 64 * 1024


def read_keymap(home: Path, known: frozenset[str]) -> tuple[dict[str, str], list[str]]:
    """What `keys.toml` asks for, and what is wrong with it in words; no file is nothing wrong.

    Args:
        home: the household's folder.
        known: the bindings that exist.

    Returns:
        (binding id to keys as Textual writes them, complaints).
    """
    try:
        with (home / FILE_NAME).open("rb") as file:
            content = file.read(FILE_BYTES_MAX).decode("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}, []
    except (OSError, UnicodeDecodeError) as error:
        return {}, [f"{FILE_NAME} cannot be read: {error}"]
    try:
        entries = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        return {}, [f"{FILE_NAME}: {error}"]
    keymap: dict[str, str] = {}
    complaints: list[str] = []
    for name, value in sorted(entries.items()):
        keys = [value] if isinstance(value, str) else value
        if name not in known:
            complaints.append(f"{FILE_NAME}: there is no binding {name!r}")
        elif not isinstance(keys, list) or not keys or not all(isinstance(key, str) and key for key in keys):
            complaints.append(f"{FILE_NAME}: {name} wants a key or a list of keys")
        else:
            keymap[name] = ",".join(keys)
    return keymap, complaints
