"""Checks a value against the part of JSON Schema that docs/schemas uses."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent.parent / "docs" / "schemas"
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


def load(name: str) -> dict[str, Any]:
    """The published schema of a verb's result, or of "error" or "progress"."""
    schema: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return schema


def problems(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """How `value` departs from `schema`; keys that the schema does not name are a departure too."""
    known = {"$schema", "title", "description", "type", "properties", "required", "items", "enum", "const", "pattern"}
    assert set(schema) <= known, f"the checker does not know {set(schema) - known}"
    if "const" in schema and value != schema["const"]:
        return [f"{where}: {value!r} is not {schema['const']!r}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value!r} is none of {schema['enum']}"]
    if "type" in schema:
        names = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if not any(isinstance(value, _TYPES[n]) and (n == "boolean" or not isinstance(value, bool)) for n in names):
            return [f"{where}: {value!r} is not {' or '.join(names)}"]
    found = []
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        found.append(f"{where}: {value!r} is not {schema['pattern']}")
    if isinstance(value, dict) and "properties" in schema:
        found += [f"{where}.{key}: missing" for key in schema["required"] if key not in value]
        for key, inner in value.items():
            if key not in schema["properties"]:
                found.append(f"{where}.{key}: not in the schema")
            else:
                found += problems(inner, schema["properties"][key], f"{where}.{key}")
    if isinstance(value, list):
        for i, inner in enumerate(value):
            found += problems(inner, schema.get("items", {}), f"{where}[{i}]")
    return found
