"""The rules of the contract. Each function reports through complain(sentence)."""
import re

from model import DEFAULT_TIMEOUT_MS, Event, upper_snake
from schemas import json_name

SCALARS = {
    "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64",
    "fixed32", "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes",
}
VERBS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
# What an event may take away (@revokes); common/ledger/event.h says what each means.
KINDS = ["epoch", "user", "session", "key", "signing_keys"]


def fill_method(method, complain):
    """Turns a method's annotations into typed fields."""
    notes = method.notes
    listed = lambda key: [part for part in notes.get(key, "").split(",") if part]
    where = f"{method.service}.{method.name}"
    if not notes.get("id", "").isdigit():
        complain(f"{where}: @id is missing or no number")
    method.id = int(notes["id"]) if notes.get("id", "").isdigit() else 0
    method.kind = notes.get("kind", "")
    method.callers, method.errors, method.events = listed("callers"), listed("errors"), listed("event")
    method.permission, method.requires = notes.get("permission", ""), listed("requires")
    method.local, method.stream = "local" in notes, "stream" in notes
    if "http" in notes:
        parts = notes["http"].split()
        if len(parts) != 2 or parts[0] not in VERBS or not parts[1].startswith("/"):
            complain(f"{where}: @http must be VERB /path")
        else:
            method.verb, method.path = parts
    method.timeout_ms = int(notes.get("timeout", DEFAULT_TIMEOUT_MS))
    method.cache_sec = int(notes.get("cache", 0))
    if method.cache_sec and (method.kind != "read" or method.permission != "none"):
        complain(f"{where}: @cache is for public reads")
    method.success = int(notes.get("success", 204 if method.reply == "common.Empty" else 200))


def resolve_types(contract, complain):
    """Makes field types full names; finds unknown types and recursion."""
    for message in contract.messages.values():
        for item in message.fields:
            if item.type in SCALARS:
                continue
            item.type = item.type if "." in item.type else f"{message.package}.{item.type}"
            if item.type not in contract.messages and item.type not in contract.enums:
                complain(f"{message.full}.{item.name}: unknown type {item.type}")

    def visit(name, path):
        if name in path:
            complain(f"message {name} contains itself: {' -> '.join([*path, name])}")
            return
        for item in contract.messages[name].fields:
            if item.type in contract.messages:
                visit(item.type, [*path, name])
    for name in contract.messages:
        visit(name, [])


def check_messages(contract, complain):
    for message in contract.messages.values():
        for attribute in ("name", "number"):
            seen = [getattr(item, attribute) for item in message.fields]
            for twice in sorted({str(value) for value in seen if seen.count(value) > 1}):
                complain(f"{message.full}: field {attribute} {twice} is used twice")
        members = [re.sub(r"(?<=_at)_us$|_json$", "", item.name) for item in message.fields]
        for twice in sorted({name for name in members if members.count(name) > 1}):
            complain(f"{message.full}: JSON member name {twice} is used twice")
    for enum in contract.enums.values():
        prefix = upper_snake(enum.name) + "_"
        for name, _, _ in enum.values:
            if not name.startswith(prefix):
                complain(f"{enum.full}: value {name} does not begin with {prefix}")


def check_events(contract, complain):
    """Fills contract.events from the catalogue and its annotations."""
    emitters = {noun: process.name for process in contract.processes for noun in process.emits}
    for enum in contract.enums.values():
        for name, number, comment in enum.values:
            notes = enum.notes.get(name, {})
            if enum.full != "events.EventType":
                if notes:
                    complain(f"{enum.full}: {name} is no event and has no facts")
                continue
            event = Event(name.removeprefix("EVENT_TYPE_").lower(), number, comment, notes.get("revokes", ""),
                          notes.get("audience", "project"))
            nouns = [noun for noun in emitters if event.name.startswith(noun + "_")]
            event.source = emitters[max(nouns, key=len)] if nouns else ""
            if event.revokes and event.revokes not in KINDS:
                complain(f"event {event.name}: @revokes must be one of {', '.join(KINDS)}")
            if event.audience not in ("project", "user"):
                complain(f"event {event.name}: @audience must be project or user")
            if not event.source:
                complain(f"event {event.name}: no process declares it in processes.txt")
            contract.events.append(event)


def check_method(contract, method, complain):
    where = f"{method.service}.{method.name}"
    processes = {process.name: process for process in contract.processes}
    owner = processes.get(method.service)
    low = (owner.service if owner else 0) * 1000
    if not owner and method.service != "common":
        complain(f"{where}: no process is called {method.service}")
    if not low <= method.id < low + 1000 or method.id == 0:
        complain(f"{where}: id {method.id} is outside {low}..{low + 999}")
    if method.kind not in ("read", "write"):
        complain(f"{where}: @kind must be read or write")
    for kind in (method.request, method.reply):
        if kind not in contract.messages:
            complain(f"{where}: unknown message {kind}")
    for caller in method.callers:
        if caller not in processes:
            complain(f"{where}: unknown caller {caller}")
        elif owner and method.service not in processes[caller].peers:
            complain(f"{where}: {caller} does not declare {method.service} as a peer in processes.txt")
    if not method.callers and not method.local:
        complain(f"{where}: @callers is missing")
    known = {error.name for error in contract.errors}
    for error in method.errors:
        if error not in known:
            complain(f"{where}: unknown error {error}")
    catalogue = contract.enums["events.EventType"].json_names()
    for event in method.events:
        if event not in catalogue:
            complain(f"{where}: unknown event {event}")
        elif owner and not any(event.startswith(noun + "_") for noun in owner.emits):
            complain(f"{where}: {method.service} does not declare the event {event} in processes.txt")
    check_route(contract, method, complain)


def check_route(contract, method, complain):
    where = f"{method.service}.{method.name}"
    if not method.path:
        if method.permission or method.local:
            complain(f"{where}: @permission and @local need @http")
        return
    if not re.fullmatch(r"none|[a-z_]+:[a-z]+", method.permission):
        complain(f"{where}: @permission must be noun:verb or none")
    if not method.comment:
        complain(f"{where}: a routed method needs a comment, it becomes the reference")
    names = [item.name for item in contract.messages[method.request].fields] \
        if method.request in contract.messages else []
    for param in method.params():
        if param not in names:
            complain(f"{where}: path parameter {param} is no field of {method.request}")
    if method.verb == "GET" and method.kind == "write":
        complain(f"{where}: GET cannot be a write")
    if method.verb in ("PUT", "PATCH") and not method.requires:
        complain(f"{where}: {method.verb} needs @requires: nothing sent must not mean that everything is to go")
    members = {json_name(item) for item in contract.messages[method.request].fields} if names else set()
    for member in method.requires:
        if method.verb not in ("POST", "PUT", "PATCH") or member not in members - {None, *method.params()} | {"body"}:
            complain(f"{where}: @requires {member} is no member of a body")


def ambiguous(left, right):
    """Two paths collide when some request matches both and neither is the more specific one (a literal segment wins)."""
    a, b = left.split("/"), right.split("/")
    if len(a) != len(b):
        return False
    a_wins = b_wins = False
    for x, y in zip(a, b):
        x_open, y_open = x.startswith("{"), y.startswith("{")
        if not x_open and not y_open and x != y:
            return False
        a_wins |= y_open and not x_open
        b_wins |= x_open and not y_open
    return a_wins == b_wins


def check_tables(contract, complain):
    by_id, routes = {}, []
    for method in contract.methods:
        if method.id in by_id:
            complain(f"{method.service}.{method.name}: id {method.id} belongs to {by_id[method.id]}")
        by_id[method.id] = f"{method.service}.{method.name}"
        for other in routes:
            if method.path and method.verb == other.verb and ambiguous(method.path, other.path):
                complain(f"routes overlap: {method.verb} {method.path} and {other.path}")
        if method.path:
            routes.append(method)
    for index, error in enumerate(contract.errors):
        if error.number != index:
            complain(f"errors.txt: {error.name} has number {error.number}, expected {index}")
    if not contract.errors or contract.errors[0].name != "ok":
        complain("errors.txt: number 0 must be ok")
    for things in (contract.errors, contract.processes):
        names = [thing.name for thing in things]
        for name in sorted({name for name in names if names.count(name) > 1}):
            complain(f"{name} is declared twice")


def check_graph(contract, complain):
    peers = {process.name: process.peers for process in contract.processes}

    def visit(name, path):
        if name in path:
            complain(f"processes.txt: the calls form a cycle: {' -> '.join([*path, name])}")
            return
        for peer in peers.get(name, []):
            if peer not in peers:
                complain(f"processes.txt: {name} calls an unknown process {peer}")
            else:
                visit(peer, [*path, name])
    for process in contract.processes:
        visit(process.name, [])
    numbers = [process.service for process in contract.processes if process.service]
    for number in sorted({number for number in numbers if numbers.count(number) > 1}):
        complain(f"processes.txt: service number {number} is used twice")
