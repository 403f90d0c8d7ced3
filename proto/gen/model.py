"""What the contract is made of: messages, enums, methods, errors, processes."""
import re
from dataclasses import dataclass, field

DEFAULT_TIMEOUT_MS = 5000


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
    notes: dict = field(default_factory=dict)  # annotations of a value, by its name

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
    cache_sec: int = 0
    local: bool = False
    stream: bool = False
    requires: list = field(default_factory=list)  # members that a body must have; "body" = one at all

    @property
    def symbol(self):
        return f"M_{self.service.upper()}_{upper_snake(self.name)}"

    def params(self):
        return re.findall(r"{(\w+)}", self.path)


@dataclass
class Event:
    """A type of the catalogue and what is declared about it."""
    name: str      # as JSON shows it
    number: int
    comment: str
    revokes: str   # one of checker.KINDS; "" = takes nothing away
    audience: str  # project or user
    source: str = ""  # process that writes it


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
    events: list = field(default_factory=list)


def upper_snake(name):
    """As protoc-c splits names: GetUser -> GET_USER."""
    return re.sub(r"(?<=.)([A-Z])", r"_\1", name).upper()


def lower_snake(name):
    return upper_snake(name).lower()
