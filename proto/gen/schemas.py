"""JSON Schemas of the messages, by the conventions of common/json/pbjson.h."""
import re

INTEGERS = {
    "int32": (-2**31, 2**31 - 1), "sint32": (-2**31, 2**31 - 1), "sfixed32": (-2**31, 2**31 - 1),
    "uint32": (0, 2**32 - 1), "fixed32": (0, 2**32 - 1), "uint64": (0, None), "fixed64": (0, None),
    "int64": (None, None), "sint64": (None, None), "sfixed64": (None, None),
}
HEADER_FIELDS = {"if_match_version"}   # sent as If-Match


def is_time(field):
    """A field of microseconds that JSON shows as RFC 3339 text: at_us, created_at_us."""
    return field.type == "int64" and (field.name.endswith("_at_us") or field.name == "at_us")


def json_name(field):
    """The member's name; None for a field that is no member."""
    if field.name == "null_fields":
        return None
    if is_time(field):
        return field.name.removesuffix("_us")
    if field.type == "string" and field.name.endswith("_json") and not field.repeated:
        return field.name.removesuffix("_json")
    return field.name


def short(full):
    return full.partition(".")[2]


def integer_schema(field):
    low, high = INTEGERS[field.type]
    stated = re.search(r"\b(\d+)\.\.(\d+)(?:, (\d+) when absent)?", field.comment)
    schema = {"type": "integer"}
    if field.type.endswith("64"):
        schema["format"] = "int64"
    if stated:
        low, high = int(stated.group(1)), int(stated.group(2))
    if low is not None:
        schema["minimum"] = low
    if high is not None:
        schema["maximum"] = high
    if stated and stated.group(3):
        schema["default"] = int(stated.group(3))
    return schema


def value_schema(field):
    """Schema of one value of the field, without its description."""
    if "." in field.type:
        return {"$ref": f"#/components/schemas/{short(field.type)}"}
    if field.type in INTEGERS:
        if is_time(field):
            return {"type": "string", "format": "date-time"}
        return integer_schema(field)
    if field.name.endswith("_json") and field.type == "string":
        return {} if field.comment.startswith("JSON value") else {"type": "object", "additionalProperties": True}
    return {"bool": {"type": "boolean"}, "float": {"type": "number"}, "double": {"type": "number"},
            "bytes": {"type": "string", "contentEncoding": "base64url"}}.get(field.type, {"type": "string"})


def nullable(schema):
    if "$ref" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]} if "type" in schema else schema


def field_schema(field, merge_patch=False):
    schema = value_schema(field)
    if field.repeated:
        schema = {"type": "array", "items": schema}
    if merge_patch:
        schema = nullable(schema)
    if field.comment:
        schema = {**schema, "description": field.comment}
    return schema


def message_schema(message, leave_out=(), always_present=False):
    """Strict object schema. leave_out: fields from path or header. always_present: replies always carry their arrays."""
    merge_patch = any(field.name == "null_fields" for field in message.fields)
    members = [field for field in message.fields if field.name not in leave_out and json_name(field)]
    schema = {"type": "object"}
    if message.comment:
        schema["description"] = message.comment
    schema["properties"] = {json_name(field): field_schema(field, merge_patch) for field in members}
    if always_present and any(field.repeated for field in members):
        schema["required"] = [json_name(field) for field in members if field.repeated]
    schema["additionalProperties"] = False
    return schema


def enum_schema(enum):
    lines = [f"`{name}`: {comment}" for name, (_, _, comment) in zip(enum.json_names(), enum.values) if comment]
    schema = {"type": "string", "enum": enum.json_names()}
    if lines:
        schema["description"] = ". ".join(lines)
    return schema


def reachable(contract, roots):
    """Full names of the messages and enums that the given messages consist of, themselves included."""
    found, todo = set(), list(roots)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.add(name)
        if name in contract.messages:
            todo += [field.type for field in contract.messages[name].fields if "." in field.type]
    return found
