"""Reads the text of .proto files (with comments and annotations), errors.txt and processes.txt."""
import os
import re

from model import ContractError, Enum, Error, Field, Message, Method, Process, ProtoFile

ANNOTATIONS = {
    "id", "http", "permission", "errors", "kind", "callers", "event", "success", "timeout", "cache", "local", "stream",
    "requires",
}
VALUE_ANNOTATIONS = {"revokes", "audience"}   # of an enum's value: facts about an event type
FLAGS = {"local", "stream"}
TOKEN = re.compile(r'//[^\n]*|"[^"]*"|[A-Za-z_][\w.]*|\d+|[{}()=;,\[\]<>]|\n|[ \t\r]+|.')


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
        if label == "reserved":   # protoc sees to it that the number is not used again
            reader.next(), reader.next(";")
            continue
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
    values, notes = [], {}
    while reader.peek() != "}":
        prose, found = parse_notes(reader, reader.take_lead(), VALUE_ANNOTATIONS)
        value = reader.next()
        reader.next("=")
        number = int(reader.next())
        reader.next(";")
        values.append((value, number, reader.trail() or prose))
        notes[value] = found
    reader.next("}")
    reader.lead = []
    return Enum(package, name, values, join(lead), notes)


def parse_notes(reader, lead, known):
    """Splits a leading comment into its prose and its @annotations."""
    prose, notes = [], {}
    for line in lead:
        if not line.startswith("@"):
            prose.append(line)
            continue
        for part in re.split(r"\s+(?=@)", line):
            key, _, value = part[1:].partition(" ")
            if key not in known:
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
        prose, notes = parse_notes(reader, reader.take_lead(), ANNOTATIONS)
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
        match = re.fullmatch(r"(\d+)\s+([a-z_]+)\s+(\d{3})\s+(yes|no)\s+(\S.*)", row)
        if not match:
            raise ContractError(f"errors.txt: not a row of number, name, HTTP status, yes or no, text: {row}")
        number, name, http, retryable, text = match.groups()
        errors.append(Error(int(number), name, int(http), retryable == "yes", text))
    return errors


def parse_processes(path):
    split = lambda text: [] if text == "-" else text.split(",")
    processes = []
    for row in rows(path):
        match = re.fullmatch(r"(\w+)\s+(\d+)\s+(\d+)\s+([\w-]+)\s+([\w,-]+)\s+([\w,-]+)", row)
        if not match:
            raise ContractError(f"processes.txt: not a row of six columns: {row}")
        name, service, port, role, peers, emits = match.groups()
        processes.append(Process(name, int(service), int(port), "" if role == "-" else role, split(peers),
                                 split(emits)))
    return processes
