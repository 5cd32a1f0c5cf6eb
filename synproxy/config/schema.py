"""The JSON Schema of the configuration file, for editors.

Generated from the model; ``python -m synproxy.config.schema`` prints it. Must not be needed to
run: what it cannot say (names that refer to each other) is checked by the loader.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from synproxy.config import model
from synproxy.config.units import DURATION_PATTERN, SIZE_PATTERN

_ID = "https://json-schema.org/draft/2020-12/schema"
_FLAG = {"enum": [True, False, "on", "off", "yes", "no", "true", "false"]}
_DURATION = {
    "description": "A duration such as 2s, 500ms or 1h30m; a bare number is in seconds.",
    "anyOf": [
        {"type": "number", "minimum": 0},
        {"type": "string", "pattern": f"^(?:{DURATION_PATTERN})$"},
    ],
}
_SIZE = {
    "description": "A size such as 16k, 50M or 1g; a bare number is in bytes.",
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {"type": "string", "pattern": f"^{SIZE_PATTERN}$"},
    ],
}
_CHILDREN = {
    "anyOf": [
        {"const": "auto"},
        {"type": "integer", "minimum": 1, "maximum": model.MAX_CHILDREN},
    ],
    "default": "auto",
}
_UNIT = "unit"
_UNITS = {"number": "duration", "integer": "size", "boolean": "flag"}


class _Generator(GenerateJsonSchema):
    """pydantic's generator, with nginx's spellings where a validator reads them."""

    def function_before_schema(self, schema: Any) -> dict[str, Any]:
        inner = super().function_before_schema(schema)
        unit = _UNITS.get(str(inner.get("type")))
        return {_UNIT: unit} if unit else inner  # a $ref here would have to be known already


def schema() -> dict[str, Any]:
    """The schema as plain values; equal on every call."""
    made = model.Config.model_json_schema(schema_generator=_Generator)
    definitions: dict[str, Any] = made["$defs"]
    definitions["AccessRule"]["oneOf"] = [{"required": ["allow"]}, {"required": ["deny"]}]
    definitions["Route"]["oneOf"] = [{"required": ["pool"]}, {"required": ["respond"]}]
    for name, definition in definitions.items():
        _without_null(definition)
        _defaults_as_written(definition)
        definitions[name] = _with_short_form(name, definition)
    _without_null(made)
    _defaults_as_written(made)
    properties = made["properties"]
    properties["children"] = {
        "description": properties["children"]["description"],
        **_CHILDREN,
    }
    properties["cpu_affinity"] |= {"type": ["string", "boolean"], "enum": ["off", "auto", False]}
    for name in ("pid", "control_socket"):
        properties[name]["type"] = ["string", "boolean"]
    made["$defs"] = definitions | {"duration": _DURATION, "size": _SIZE, "flag": _FLAG}
    made["title"] = "synproxy configuration"
    result = _with_references({"$schema": _ID, **made})
    assert isinstance(result, dict)
    return result


def _with_references(value: Any) -> Any:
    if isinstance(value, dict):
        changed = {key: _with_references(item) for key, item in value.items()}
        if isinstance(unit := changed.pop(_UNIT, None), str):
            changed["$ref"] = f"#/$defs/{unit}"
        return changed
    return [_with_references(item) for item in value] if isinstance(value, list) else value


def _with_short_form(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    """A section that may be a bare value takes either."""
    section: type[model.Section] = getattr(model, name)
    if section is model.HeaderBuffers:
        short: Any = {"type": "string", "pattern": "^[0-9]{1,9} +[0-9]+[kKmMgG]?$"}
    elif section.shorthand is not None:
        field = definition["properties"][section.shorthand]
        short = {key: value for key, value in field.items() if key not in ("title", "default")}
    else:
        short = None
    if section is model.Listener:
        definition["properties"]["listen"]["type"] = ["string", "integer"]
        short = {**short, "type": ["string", "integer"]}
    if section is model.AccessLog:
        definition["properties"]["path"]["type"] = ["string", "boolean"]
        short = {**short, "type": ["string", "boolean"]}
    if section in (model.ProxySettings, model.ProxyOverrides):
        listed = definition["properties"].pop("next_upstream")
        kept = {key: listed.pop(key) for key in ("default", "description") if key in listed}
        definition["properties"]["next_upstream"] = {
            "anyOf": [listed, {"enum": [False, "off"]}],
            **kept,
        }
    if section is model.Pool:
        sent = definition["properties"]["send_proxy_protocol"]
        sent |= {"type": ["string", "boolean"], "enum": ["off", "v2", False]}
    switched = {model.Pool: ("health_check", "queue", "tls"), model.Http: ("request_id",)}
    if section in switched:
        for name in switched[section]:
            field = definition["properties"][name]
            field["anyOf"] = [{"$ref": field.pop("$ref")}, {"enum": [True, False, "on", "off"]}]
    if short is None:
        return definition
    description = definition.pop("description")
    return {"description": description, "anyOf": [definition, short]}


def _without_null(definition: dict[str, Any]) -> None:
    """An optional field is left out, not written as null."""
    for field in definition.get("properties", {}).values():
        choices = [c for c in field.get("anyOf", ()) if c != {"type": "null"}]
        if len(choices) == 1 and "anyOf" in field:
            del field["anyOf"]
            field.update(choices[0])
        if field.get("default", ...) is None:
            del field["default"]


def _defaults_as_written(definition: dict[str, Any]) -> None:
    """A default that is a whole section says nothing to a reader; titles repeat the names."""
    definition.pop("title", None)
    for field in definition.get("properties", {}).values():
        field.pop("title", None)
        if isinstance(field.get("default"), dict) and "$ref" in field:
            del field["default"]
        if "description" in field:
            field["description"] = re.sub(r"\s+", " ", field["description"].replace("``", "`"))
    if "description" in definition:
        definition["description"] = definition["description"].replace("``", "`")


def text() -> str:
    """The schema as the text of ``synproxy.schema.json``."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
