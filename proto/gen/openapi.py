"""Writes docs/api from the contract: openapi.json and the reference pages. Usage: openapi.py PROTO_DIR OUT_DIR [VERSION]"""
import json
import os
import re
import sys

import contract as contracts
import pages
import schemas

TAGS = {
    "projects": "Tenants. Every other resource belongs to one.",
    "keys": "Management keys, API keys and clients of a project; signing keys.",
    "users": "User records, search, import and export, the schema of custom attributes.",
    "claims": "Custom claims, seen in the next token.",
    "sessions": "Sign-in, refresh, and the end of sessions.",
    "tokens": "Checking access tokens.",
    "events": "The feed: every change in one order without gaps.",
    "audit": "Verification of the ledger.",
    "operations": "Health, metrics and this document.",
}
PROBLEM = "application/problem+json"
NDJSON = "application/x-ndjson"
REQUEST_ID = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}


def first_sentence(text):
    return re.split(r"(?<=[.;:])\s", text, maxsplit=1)[0].rstrip(".;:")


def tag_of(method):
    return "tokens" if method.permission == "none" else method.permission.partition(":")[0].replace("_", "-")


def has_body(contract, method):
    return method.verb in ("POST", "PUT", "PATCH") and bool(body_fields(contract, method))


def body_fields(contract, method):
    away = set(method.params()) | schemas.HEADER_FIELDS
    return [field for field in contract.messages[method.request].fields
            if field.name not in away and schemas.json_name(field)]


def query_fields(contract, method):
    """GET and DELETE: what is not in the path. A stream with a body: the message <FirstWord>Query beside it."""
    if method.verb in ("GET", "DELETE"):
        return body_fields(contract, method)
    word = contracts.upper_snake(method.name).partition("_")[0].capitalize()
    query = contract.messages.get(f"{method.service}.{word}Query") if method.stream else None
    return query.fields if query else []


def parameters(contract, method):
    fields = {field.name: field for field in contract.messages[method.request].fields}
    found = []
    for name in method.params():
        found.append({"name": name, "in": "path", "required": True, "schema": {"type": "string"}})
    for field in query_fields(contract, method):
        if field.name == "project_id":
            continue   # comes from the key
        item = {"name": schemas.json_name(field), "in": "query", "schema": schemas.value_schema(field)}
        if field.repeated:
            item["schema"] = {"type": "array", "items": item["schema"]}
        if field.comment:
            item["description"] = field.comment
        found.append(item)
    if "if_match_version" in fields:
        found.append({"$ref": "#/components/parameters/If-Match"})
    if method.verb == "POST":
        found.append({"$ref": "#/components/parameters/Idempotency-Key"})
    if has_etag(contract, method) and method.verb == "GET":
        found.append({"$ref": "#/components/parameters/If-None-Match"})
    return found


def has_etag(contract, method):
    return method.cache_sec > 0 or not method.stream and any(field.name == "version" for field in contract.messages[method.reply].fields)


def error_names(contract, method):
    """Declared errors and those that any call may meet."""
    names = ["invalid_argument", "malformed_request", "resource_exhausted", "unavailable", "lost", "aborted"]
    if method.permission != "none":
        names += ["unauthenticated", "permission_denied"]
    if method.params():
        names.append("not_found")
    if has_body(contract, method):
        names += ["content_too_large", "unsupported_media_type", "length_required"]
    if method.verb == "POST":
        names.append("conflict")
    if "if_match_version" in [field.name for field in contract.messages[method.request].fields]:
        names.append("precondition_failed")
    wanted = {*names, *method.errors}
    return [error for error in contract.errors if error.name in wanted]


def error_responses(contract, method):
    by_http = {}
    for error in error_names(contract, method):
        by_http.setdefault(error.http, []).append(error)
    responses = {}
    for http, errors in sorted(by_http.items()):
        headers = dict(REQUEST_ID)
        if any(error.retryable for error in errors):
            headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
        responses[str(http)] = {
            "description": " ".join(f"`{error.name}`: {error.text}." for error in errors), "headers": headers,
            "content": {PROBLEM: {"schema": {"allOf": [
                {"$ref": "#/components/schemas/Problem"},
                {"properties": {"code": {"enum": [error.name for error in errors]}}}]}}}}
    responses["default"] = {"$ref": "#/components/responses/Problem"}
    return responses


def has_items(contract, path):
    """Whether what a POST to the path makes has a path of its own; the gateway's dialect has the same rule."""
    return any(re.fullmatch(re.escape(path) + r"/\{[^/]*\}", other.path) for other in contract.methods if other.path)


def success_response(contract, method):
    response = {"description": "Done" if method.success == 204 else "Success", "headers": dict(REQUEST_ID)}
    reply = contract.messages[method.reply]
    if has_etag(contract, method):
        response["headers"]["ETag"] = {"$ref": "#/components/headers/ETag"}
    if method.cache_sec:
        response["headers"]["Cache-Control"] = {"$ref": "#/components/headers/Cache-Control"}
    if method.stream and method.verb == "GET":
        response["headers"]["Denizen-Sequence"] = {"$ref": "#/components/headers/Denizen-Sequence"}
    if method.success == 201 and any(field.name == "id" for field in reply.fields) and has_items(contract, method.path):
        response["headers"]["Location"] = {"$ref": "#/components/headers/Location"}
    if method.success != 204:
        response["content"] = media(method, reply)
    return response


def media(method, message):
    schema = {"$ref": f"#/components/schemas/{message.name}"}
    if message.full == "common.Empty":
        schema = {"type": "object", "additionalProperties": False}
    return {NDJSON if method.stream else "application/json": {"schema": schema}}


def operation(contract, method):
    found = {
        "operationId": method.name[0].lower() + method.name[1:], "tags": [tag_of(method)],
        "summary": first_sentence(method.comment), "description": method.comment,
        "x-denizen-method": method.id, "x-denizen-permission": method.permission,
    }
    if method.events:
        found["x-denizen-events"] = method.events
    if method.permission == "none":
        found["security"] = []
    given = parameters(contract, method)
    if given:
        found["parameters"] = given
    if has_body(contract, method):
        found["requestBody"] = {"required": bool(method.requires) or method.stream, "content": media(method, contract.messages[method.request])}
        if method.stream:
            found["requestBody"]["description"] = "One JSON object a line."
    found["responses"] = {str(method.success): success_response(contract, method)}
    if has_etag(contract, method) and method.verb == "GET":
        found["responses"]["304"] = {"description": "The version that If-None-Match names is the current one.",
                                     "headers": {name: response for name, response in found["responses"]["200"]["headers"].items()
                                                 if name in ("X-Request-Id", "ETag", "Cache-Control")}}
    found["responses"].update(error_responses(contract, method))
    return found


def plain_operation(name, summary, content, unready=False):
    problem = {"$ref": "#/components/responses/Problem"}
    responses = {"200": {"description": "Success", "headers": dict(REQUEST_ID), "content": content}}
    if unready:
        responses["503"] = problem
    return {"get": {"operationId": name, "tags": ["operations"], "summary": summary, "security": [],
                    "responses": {**responses, "default": problem}}}


def plain_state(**members):
    properties = {"status": {"type": "string"}, **members}
    return {"application/json": {"schema": {"type": "object", "properties": properties, "required": [*properties],
                                            "additionalProperties": False}}}


def operations_paths():
    state = plain_state()
    readiness = plain_state(revocations={"type": "string", "enum": ["followed", "asked"]})
    return {
        "/healthz": plain_operation("getHealth", "Whether this process runs", state),
        "/readyz": plain_operation("getReadiness", "Whether this gateway can answer: every service has a replica; and whether it follows what is "
                                   "revoked or asks the session service for each token", readiness, unready=True),
        "/metrics": plain_operation("getMetrics", "Metrics in the Prometheus text format 0.0.4",
                                    {"text/plain": {"schema": {"type": "string"}}}),
        "/openapi.json": plain_operation("getOpenapi", "This document", {
            "application/json": {"schema": {"type": "object", "additionalProperties": True}}}),
    }


def component_schemas(contract, routed):
    replies = schemas.reachable(contract, [m.reply for m in routed] + ["common.Problem"])
    bodies = {m.request: m for m in routed if has_body(contract, m)}
    requests = schemas.reachable(contract, bodies)
    found = {}
    for full in sorted(replies | requests, key=schemas.short):
        name = schemas.short(full)
        if full == "common.Empty":
            continue
        if name in found:
            sys.exit(f"two routed messages are called {name}")
        if full in contract.enums:
            found[name] = schemas.enum_schema(contract.enums[full])
            continue
        away = {*bodies[full].params(), *schemas.HEADER_FIELDS} if full in bodies else ()
        found[name] = schemas.message_schema(contract.messages[full], away, full not in requests)
        required = [member for member in bodies[full].requires if member != "body"] if full in bodies else []
        if required:
            found[name]["required"] = required
    found["Problem"]["required"] = ["type", "title", "status", "code"]
    return found


def components(contract, routed):
    text = {"type": "string"}
    header = lambda description, schema=text: {"description": description, "schema": schema}
    return {
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer", "description": "Management key or API key."},
            "basic": {"type": "http", "scheme": "basic", "description": "Client id and client secret."},
        },
        "parameters": {
            "If-Match": {"name": "If-Match", "in": "header", "schema": text,
                         "description": "The ETag that was read; the change is refused when the resource moved on."},
            "If-None-Match": {"name": "If-None-Match", "in": "header", "schema": text,
                              "description": "The ETag that is known: answered by 304 without body when it is current."},
            "Idempotency-Key": {"name": "Idempotency-Key", "in": "header",
                                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
                                "description": "Names this write: sent again with the same body, it gets the first "
                                               "answer and is not repeated."},
        },
        "headers": {
            "X-Request-Id": header("Trace id of the request, 32 hex digits."),
            "ETag": header("Version of the resource, for If-Match and If-None-Match."),
            "Cache-Control": header("Anyone may keep the answer for so long; no-store where this header is not named."),
            "Location": header("Path of the new resource."),
            "Retry-After": header("Seconds to wait.", {"type": "integer", "minimum": 0}),
            "Denizen-Sequence": header("Ledger sequence to follow from.", {"type": "integer", "format": "int64"}),
        },
        "responses": {"Problem": {"description": "Any other error.", "headers": dict(REQUEST_ID),
                                  "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}}},
        "schemas": component_schemas(contract, routed),
    }


def document(contract, version):
    routed = [method for method in contract.methods if method.path]
    paths = {}
    for method in sorted(routed, key=lambda m: (m.path, m.verb)):
        paths.setdefault(method.path, {})[method.verb.lower()] = operation(contract, method)
    paths.update(operations_paths())
    return {
        "openapi": "3.1.0",
        "info": {"title": "Denizen", "version": version,
                 "summary": "End users of other people's applications: records, sessions, claims, tokens, events.",
                 "description": "Native API. JSON in and out; errors are RFC 9457 problem documents; ids are prefixed "
                                "UUIDv7; times are RFC 3339 in UTC; members that are absent are left out.",
                 "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "/", "description": "The gateway that serves this document"}],
        "security": [{"bearer": []}, {"basic": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": components(contract, routed),
    }


def project_version(folder):
    with open(os.path.join(folder, "..", "CMakeLists.txt"), encoding="utf-8") as text:
        found = re.search(r"project\(denizen VERSION ([\d.]+)", text.read())
    return found.group(1) if found else "0"


def main(folder, out, version=None):
    try:
        contract = contracts.load(folder)
    except contracts.ContractError as error:
        sys.exit(f"the contract is refused:\n{error}")
    text = json.dumps(document(contract, version or project_version(folder)), indent=1, ensure_ascii=False) + "\n"
    os.makedirs(out, exist_ok=True)
    for name, content in {"openapi.json": text, "errors.md": pages.errors(contract),
                          "methods.md": pages.methods(contract), "events.md": pages.events(contract),
                          "README.md": pages.readme()}.items():
        with open(os.path.join(out, name), "w", encoding="utf-8") as file:
            file.write(content)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
