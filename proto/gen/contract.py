"""Reads and checks the contract: proto/*.proto with its annotations, errors.txt, processes.txt."""
import os
import re
from dataclasses import dataclass, field

SCALARS = {
    "double", "float", "int32", "int64", "uint32", "uint64", "sint32", "sint64",
    "fixed32", "fixed64", "sfixed32", "sfixed64", "bool", "string", "bytes",
}
ANNOTATIONS = {
    "id", "http", "permission", "errors", "kind", "callers", "event", "success", "timeout", "local", "stream",
}
FLAGS = {"local", "stream"}
VERBS = {"GET", "POST", "PUT", "PATCH", "DELETE"}
DEFAULT_TIMEOUT_MS = 5000
TOKEN = re.compile(r'//[^\n]*|"[^"]*"|[A-Za-z_][\w.]*|\d+|[{}()=;,\[\]<>]|\n|[ \t\r]+|.')


class ContractError(Exception):
    """What is wrong with the contract, one sentence a line."""


@dataclass
class Field:
    name: str
    label: str
    type: str
    number: int
    comment: str = ""

    @property
    def repeated(self):
        return self.label == "repeated"


@dataclass
class Message:
    package: str
    name: str
    fields: list
    comment: str = ""

    @property
    def full(self):
        return f"{self.package}.{self.name}"


@dataclass
class Enum:
    package: str
    name: str
    values: list  # (name, number, comment)
    comment: str = ""

    @property
    def full(self):
        return f"{self.package}.{self.name}"

    def json_names(self):
        """Values as JSON shows them: without the enum's own prefix, lower case."""
        prefix = upper_snake(self.name) + "_"
        return [name.removeprefix(prefix).lower() for name, _, _ in self.values]


@dataclass
class Method:
    service: str   # name of the file
    name: str
    request: str   # full message name
    reply: str
    comment: str
    notes: dict
    id: int = 0
    kind: str = ""
    callers: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    events: list = field(default_factory=list)
    verb: str = ""
    path: str = ""
    permission: str = ""
    success: int = 200
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    local: bool = False
    stream: bool = False

    @property
    def symbol(self):
        return f"M_{self.service.upper()}_{upper_snake(self.name)}"

    def params(self):
        return re.findall(r"{(\w+)}", self.path)


@dataclass
class Error:
    number: int
    name: str
    http: int
    retryable: bool
    text: str


@dataclass
class Process:
    name: str
    service: int
    port: int
    role: str      # "" = none
    peers: list
    emits: list


@dataclass
class ProtoFile:
    name: str
    package: str = ""
    syntax: str = ""
    comment: str = ""
    messages: list = field(default_factory=list)
    enums: list = field(default_factory=list)
    methods: list = field(default_factory=list)


@dataclass
class Contract:
    files: list
    errors: list
    processes: list
    messages: dict
    enums: dict
    methods: list


def upper_snake(name):
    """As protoc-c splits names: GetUser -> GET_USER."""
    return re.sub(r"(?<=.)([A-Z])", r"_\1", name).upper()


def lower_snake(name):
    return upper_snake(name).lower()


class Reader:
    """Tokens of one .proto file, with the comments before and behind them."""

    def __init__(self, path, text):
        self.path = path
        self.tokens = []     # (kind, text, line)
        line = 1
        for match in TOKEN.finditer(text):
            token = match.group()
            if token == "\n":
                self.tokens.append(("nl", token, line))
                line += 1
            elif token.startswith("//"):
                self.tokens.append(("comment", token[2:].strip(), line))
            elif not token.isspace():
                self.tokens.append(("word", token, line))
        self.at = 0
        self.lead = []       # comment lines directly before the next word

    def fail(self, message):
        line = self.tokens[min(self.at, len(self.tokens) - 1)][2] if self.tokens else 0
        raise ContractError(f"{self.path}:{line}: {message}")

    def skip(self):
        """Moves to the next word; comments that stand directly before it are kept in self.lead."""
        blank = 0
        while self.at < len(self.tokens) and self.tokens[self.at][0] != "word":
            kind, text, _ = self.tokens[self.at]
            if kind == "comment":
                self.lead.append(text)
                blank = 0
            else:
                blank += 1
                if blank > 1:
                    self.lead = []
            self.at += 1

    def peek(self):
        self.skip()
        return self.tokens[self.at][1] if self.at < len(self.tokens) else None

    def next(self, expected=None):
        token = self.peek()
        if token is None or (expected is not None and token != expected):
            self.fail(f"expected {expected or 'more'}, found {token}")
        self.at += 1
        return token

    def take_lead(self):
        self.skip()
        lead, self.lead = self.lead, []
        return lead

    def trail(self):
        """The comment on the rest of this line, continued by comment-only lines only when there is none before."""
        if self.at < len(self.tokens) and self.tokens[self.at][0] == "comment":
            self.at += 1
            return self.tokens[self.at - 1][1]
        return ""


def join(lines):
    return " ".join(line for line in lines if line and not line.startswith("----")).strip()


def parse_message(reader, package, lead):
    name = reader.next()
    reader.next("{")
    comment = join(lead) or reader.trail()
    fields = []
    while reader.peek() != "}":
        lead = reader.take_lead()
        label = reader.next()
        if label not in ("optional", "repeated"):
            reader.fail(f"{package}.{name}: a field begins with {label}; only optional and repeated are allowed")
        kind, field_name = reader.next(), reader.next()
        reader.next("=")
        number = int(reader.next())
        if reader.peek() == "[":
            reader.fail(f"{package}.{name}.{field_name}: field options are not used here")
        reader.next(";")
        fields.append(Field(field_name, label, kind, number, reader.trail() or join(lead)))
    reader.next("}")
    reader.lead = []
    return Message(package, name, fields, comment)


def parse_enum(reader, package, lead):
    name = reader.next()
    reader.next("{")
    values = []
    while reader.peek() != "}":
        reader.take_lead()
        value = reader.next()
        reader.next("=")
        number = int(reader.next())
        reader.next(";")
        values.append((value, number, reader.trail()))
    reader.next("}")
    reader.lead = []
    return Enum(package, name, values, join(lead))


def parse_notes(reader, lead):
    """Splits a leading comment into its prose and its @annotations."""
    prose, notes = [], {}
    for line in lead:
        if not line.startswith("@"):
            prose.append(line)
            continue
        for part in re.split(r"\s+(?=@)", line):
            key, _, value = part[1:].partition(" ")
            if key not in ANNOTATIONS:
                reader.fail(f"unknown annotation @{key}")
            if key in notes:
                reader.fail(f"@{key} is given twice")
            if bool(value.strip()) == (key in FLAGS):
                reader.fail(f"@{key} " + ("takes no value" if key in FLAGS else "needs a value"))
            notes[key] = value.strip()
    return join(prose), notes


def parse_service(reader, file):
    reader.next()
    reader.next("{")
    while reader.peek() != "}":
        prose, notes = parse_notes(reader, reader.take_lead())
        reader.next("rpc")
        name = reader.next()
        types = []
        for word in (None, "returns"):
            if word:
                reader.next(word)
            reader.next("(")
            types.append(reader.next())
            reader.next(")")
        reader.next(";")
        reader.trail()
        qualified = [kind if "." in kind else f"{file.package}.{kind}" for kind in types]
        file.methods.append(Method(file.name, name, qualified[0], qualified[1], prose, notes))
    reader.next("}")
    reader.lead = []


def parse_proto(path, text):
    file = ProtoFile(os.path.basename(path).removesuffix(".proto"))
    reader = Reader(path, text)
    first = text.split("\n", 1)[0]
    file.comment = first[2:].strip() if first.startswith("//") else ""
    while reader.peek() is not None:
        lead = reader.take_lead()
        word = reader.next()
        if word == "syntax":
            reader.next("=")
            file.syntax = reader.next().strip('"')
            reader.next(";")
        elif word == "package":
            file.package = reader.next()
            reader.next(";")
        elif word == "import":
            reader.next()
            reader.next(";")
        elif word == "message":
            file.messages.append(parse_message(reader, file.package, lead))
        elif word == "enum":
            file.enums.append(parse_enum(reader, file.package, lead))
        elif word == "service":
            parse_service(reader, file)
        else:
            reader.fail(f"unexpected {word}")
        reader.trail()
    return file


def rows(path):
    with open(path, encoding="utf-8") as text:
        return [line.strip() for line in text if line.strip() and not line.startswith("#")]


def parse_errors(path):
    errors = []
    for row in rows(path):
        number, name, http, retryable, text = row.split(None, 4)
        errors.append(Error(int(number), name, int(http), retryable == "yes", text))
    return errors


def parse_processes(path):
    split = lambda text: [] if text == "-" else text.split(",")
    processes = []
    for row in rows(path):
        name, service, port, role, peers, emits = row.split()
        processes.append(Process(name, int(service), int(port), "" if role == "-" else role, split(peers),
                                 split(emits)))
    return processes


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
    method.permission = notes.get("permission", "")
    method.local, method.stream = "local" in notes, "stream" in notes
    if "http" in notes:
        parts = notes["http"].split()
        if len(parts) != 2 or parts[0] not in VERBS or not parts[1].startswith("/"):
            complain(f"{where}: @http must be VERB /path")
        else:
            method.verb, method.path = parts
    method.timeout_ms = int(notes.get("timeout", DEFAULT_TIMEOUT_MS))
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


def load(folder):
    """Reads proto/ and returns its Contract, or raises ContractError with everything that is wrong."""
    files = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".proto"):
            with open(os.path.join(folder, name), encoding="utf-8") as text:
                files.append(parse_proto(name, text.read()))
    contract = Contract(files, parse_errors(os.path.join(folder, "errors.txt")),
                        parse_processes(os.path.join(folder, "processes.txt")),
                        {m.full: m for f in files for m in f.messages}, {e.full: e for f in files for e in f.enums},
                        [m for f in files for m in f.methods])
    problems = []
    complain = lambda text: problems.append(text) if text not in problems else None
    for file in files:
        if file.syntax != "proto2":
            complain(f"{file.name}.proto: syntax must be proto2")
        if not file.comment:
            complain(f"{file.name}.proto: the first line must be a comment that says what the file is for")
    for method in contract.methods:
        fill_method(method, complain)
    resolve_types(contract, complain)
    check_messages(contract, complain)
    for method in contract.methods:
        check_method(contract, method, complain)
    check_tables(contract, complain)
    check_graph(contract, complain)
    if problems:
        raise ContractError("\n".join(problems))
    contract.methods.sort(key=lambda method: method.id)
    return contract
