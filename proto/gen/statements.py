"""Embeds a service's SQL statements in C: NAME_sql.gen.h, NAME_sql.gen.c, and NAME.sql for psql. Usage: statements.py NAME OUT ROWS.proto|- FILE.sql...

The form of the files is described in common/db/README.md.
"""
import os
import re
import sys

import reader
from model import ContractError, lower_snake

PARAMS_MAX = 64     # DB_ARGS_MAX
TOGETHER = 8        # DB_TOGETHER
# Postgres type -> (enum of common/db/sql.h, C type of a parameter, C type in a row)
TYPES = {
    "uuid": ("DB_UUID", "const struct id *", "struct id "),
    "text": ("DB_TEXT", "const char *", "const char *"),
    "bytea": ("DB_BYTEA", "struct db_blob ", "struct db_blob "),
    "jsonb": ("DB_JSONB", "const char *", "const char *"),
    "int8": ("DB_INT8", "int64_t ", "int64_t "),
    "int4": ("DB_INT4", "int32_t ", "int32_t "),
    "int2": ("DB_INT2", "int16_t ", "int16_t "),
    "bool": ("DB_BOOL", "bool ", "bool "),
    "uuid[]": ("DB_UUIDS", "struct db_ids ", None),
    "text[]": ("DB_TEXTS", "struct db_texts ", "struct db_texts "),
    "int8[]": ("DB_INT8S", "struct db_int8s ", None),
    "int2[]": ("DB_INT2S", "struct db_int2s ", None),
    "bool[]": ("DB_BOOLS", "struct db_bools ", None),
    "bytea[]": ("DB_BYTEAS", "struct db_blobs ", None),
}
# What every statement may name without declaring it: parameter -> (where it comes from, member, type).
IMPLICIT = {
    "project": ("DB_FROM_SCOPE", "project", "uuid"),
    "events": ("DB_FROM_EFFECTS", "events", "bytea[]"),
    "revokes": ("DB_FROM_EFFECTS", "revokes", "bool"),
    "operation": ("DB_FROM_EFFECTS", "operation", "uuid"),
    "method": ("DB_FROM_EFFECTS", "method", "int4"),
    "request_hash": ("DB_FROM_EFFECTS", "request_hash", "bytea"),
    "reply": ("DB_FROM_EFFECTS", "reply", "bytea"),
    "operation_at_us": ("DB_FROM_EFFECTS", "at_us", "int8"),
}
HEADER = re.compile(r"^-- (name|together|part|view): *(.*)$")
USE = re.compile(r"\{([A-Za-z][\w.]*)(?:\(([^{}]*)\))?\}")
PARAM = re.compile(r"(?<![:\w]):([a-z_]\w*(?:\.[a-z_]\w*)?)")
STRING = re.compile(r"('(?:[^']|'')*')")


class Refusal(Exception):
    """What is wrong with a file, with its place."""


def split(text):
    """Parts between commas that stand in no parentheses."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


class Row:
    """A message of rows.proto: its fields in the order of protobuf-c's descriptor, with their types in Postgres."""

    def __init__(self, message, file):
        self.name = message.name
        self.c_type = f"{''.join(part.capitalize() + '__' for part in file.package.split('.'))}{message.name}"
        self.descriptor = f"{file.package.replace('.', '__')}__{lower_snake(message.name)}__descriptor"
        table, owner = re.search(r"@table (\w+)", message.comment), re.search(r"@of (\w+)", message.comment)
        self.table, self.owner = table.group(1) if table else "", owner.group(1) if owner else ""
        enums = {enum.name for enum in file.enums}
        self.fields = sorted(message.fields, key=lambda field: field.number)
        self.index = {field.name: index for index, field in enumerate(self.fields)}
        self.types = {field.name: self.type_of(field, enums) for field in self.fields}
        self.select = {field.name: note.group(1).strip() for field in self.fields if (note := re.search(r"@select (.*)", field.comment))}
        self.written = {field.name for field in self.fields if "@write" in field.comment}

    @staticmethod
    def type_of(field, enums):
        note = re.search(r"@(int4|jsonb|uuid|bytea)\b", field.comment)
        if note:
            return note.group(1)
        if field.repeated:
            return "text[]"
        if field.type == "bytes":
            return "uuid" if field.name.endswith("_id") else "bytea"
        plain = {"string": "text", "int64": "int8", "bool": "bool", "int32": "int2", "uint32": "int4"}
        return plain.get(field.type) or "int2"

    def readable(self, without=()):
        return [field.name for field in self.fields if field.name not in self.written and field.name not in without]

    def writable(self, without=()):
        return [field.name for field in self.fields if field.name not in self.select and field.name not in without]


class Statement:
    def __init__(self, name, kind, params, columns, comment):
        self.name, self.kind, self.comment = name, kind, comment
        self.params = params      # [(name, type)] as declared
        self.columns = columns    # [(name, type)]
        self.together = None      # the Statement that asks for several at once
        self.sql, self.order = "", []


class File:
    """Everything that the files of one service declare."""

    def __init__(self, name, rows):
        self.name, self.rows = name, rows
        self.parts, self.views, self.statements, self.raw = {}, {}, [], {}

    # ---- reading ----

    def read(self, path):
        with open(path, encoding="utf-8") as file:
            lines = file.read().split("\n")
        block = None
        for number, line in enumerate(lines, 1):
            match = HEADER.match(line)
            if match:
                block = [f"{path}:{number}", match.group(1), match.group(2), []]
                self.raw.setdefault(path, []).append(block)
            elif block and not block[3] and line.startswith("--") and (block[2].count("(") > block[2].count(")") or block[2].endswith("->")):
                block[2] += " " + line[2:].strip()
            elif block:
                block[3].append(line)

    def take_all(self):
        """Views and parts may stand in any file, also behind their use."""
        blocks = [block for path in self.raw for block in self.raw[path]]
        for wanted in ("view", "part", "name", "together"):
            for place, kind, head, body in blocks:
                if kind == wanted:
                    getattr(self, f"take_{kind}")(place, head, body)

    def take_part(self, place, head, body):
        match = re.fullmatch(r"([\w.]+)(?:\(([\w, ]*)\))?", head)
        if not match or match.group(1) in self.parts:
            raise Refusal(f"{place}: a part is called name or name(arguments), once")
        self.parts[match.group(1)] = (split(match.group(2) or ""), self.plain(body))

    def take_view(self, place, head, body):
        match = re.fullmatch(r"(\w+) (\w+) except ([\w, ]+)", head)
        if not match or match.group(2) not in self.rows:
            raise Refusal(f"{place}: a view is: name Row except field, field")
        self.views[match.group(1)] = (self.rows[match.group(2)], set(split(match.group(3))))

    def take_name(self, place, head, body):
        match = re.fullmatch(r"(\w+) (read|write)( ahead)?(?: \((.*?)\))?(?: -> (.+))?", head)
        if not match:
            raise Refusal(f"{place}: a statement begins with: name read|write [ahead] (parameter type, ...) -> column type, ...")
        name, kind, ahead, params, columns = match.groups()
        if any(other.name == name for other in self.statements):
            raise Refusal(f"{place}: {name} is there twice")
        statement = Statement(name, kind, self.declared(place, params), self.declared(place, columns),
                              " ".join(line[2:].strip() for line in body if line.startswith("--")))
        statement.place, statement.body, statement.ahead = place, self.plain(body), bool(ahead)
        self.statements.append(statement)

    def take_together(self, place, head, body):
        found = [statement for statement in self.statements if statement.name == head.strip()]
        if not found:
            raise Refusal(f"{place}: {head} is no statement above")
        one = found[0]
        one.together = Statement(f"{one.name}_together", "read", one.params, [("number", "int4"), *one.columns], "")
        one.together.place, one.together.body = place, self.plain(body)

    @staticmethod
    def plain(body):
        text = "\n".join(line.rstrip() for line in body if not line.startswith("--")).strip()
        return text.rstrip(";").rstrip()

    def declared(self, place, text):
        """[(name, type)] of a list of parameters or columns."""
        found = []
        for part in split(text or ""):
            words = part.split()
            known = words and (words[-1].rstrip("?") in TYPES or words[-1].removesuffix("[]") in self.rows or words[-1] in self.views)
            if len(words) != 2 or not known:
                raise Refusal(f"{place}: {part} is not a name and a type")
            found.append((words[0], words[1]))
        return found

    # ---- expansion ----

    def columns_of(self, name):
        """(row, fields that are read) of a row or a view."""
        row, without = self.views.get(name) or (self.rows[name], ())
        return row, row.readable(without)

    def use_row(self, place, name, what, arguments):
        row, readable = self.columns_of(name)
        without = {argument[1:].strip() for argument in arguments if argument.startswith("-")}
        plain = [argument for argument in arguments if not argument.startswith("-")]
        if what == "columns":
            prefix = f"{plain[0]}." if plain else ""
            return ", ".join(row.select[field].replace("$.", prefix) if field in row.select else prefix + field
                             for field in readable if field not in without)
        writable = row.writable(without)
        if what == "names":
            return ", ".join(writable)
        if not plain:
            raise Refusal(f"{place}: {{{name}.{what}}} needs the name of a parameter")
        if what == "values":
            return ", ".join(f":{plain[0]}.{field}" for field in writable)
        if what == "set":
            return ", ".join(f"{field} = :{plain[0]}.{field}" for field in writable)
        if what == "from":
            return ", ".join(f"string_to_array({plain[0]}.{field}, E'\\n')" if row.types[field] == "text[]" else f"{plain[0]}.{field}"
                             for field in writable)
        if what == "satellites":
            key = row.fields[0].name
            return ", ".join(f"of_{other.table} AS (DELETE FROM {other.table} USING w WHERE {other.table}.project_id = :project AND "
                             f"{other.table}.{key} = {plain[0]})" for other in self.rows.values() if other.owner == row.name)
        raise Refusal(f"{place}: {name}.{what}: there are columns, names, values, set, from, satellites")

    def expand(self, place, text, one=None):
        for _ in range(50):
            match = USE.search(text)
            if not match:
                return text
            name, arguments = match.group(1), split(match.group(2) or "")
            head, _, what = name.rpartition(".")
            if head in self.rows or head in self.views:
                value = self.use_row(place, head, what, arguments)
            elif name == "together" and one:
                value = self.values_table(one)
            elif name in self.parts:
                value = self.fill(place, name, arguments)
            else:
                raise Refusal(f"{place}: there is no part {name}")
            text = text[:match.start()] + value + text[match.end():]
        raise Refusal(f"{place}: parts that contain each other")

    def fill(self, place, name, arguments):
        names, text = self.parts[name]
        if len(names) != len(arguments):
            raise Refusal(f"{place}: {name} takes {len(names)} arguments")
        for argument, value in zip(names, arguments):
            text = re.sub(rf"\${argument}\b", lambda _, value=value: value, text)
        return text

    @staticmethod
    def values_table(one):
        """(VALUES ($1::uuid, $2::uuid, 0), ($3, $4, 1) ...) over the parameters of the single statement."""
        each, rows = len(one.order), []
        for number in range(TOGETHER):
            cells = [f"${number * each + at + 1}" + (f"::{param['type']}" if number == 0 else "") for at, param in enumerate(one.order)]
            rows.append(f"({', '.join([*cells, str(number)])})")
        return f"(VALUES {', '.join(rows)})"

    # ---- parameters ----

    def resolve(self, statement, name):
        """Where the value of a parameter comes from."""
        head, _, field = name.partition(".")
        declared = dict(statement.params)
        if head in declared:
            kind = declared[head]
            row = self.rows.get(kind.removesuffix("[]")) or (self.views[kind][0] if kind in self.views else None)
            if row:
                if field not in row.index:
                    raise Refusal(f"{statement.place}: :{name}: {row.name} has no such field")
                return {"from": "DB_FROM_PARAMS", "member": head, "type": row.types[field], "field": row.index[field],
                        "row": row, "many": kind.endswith("[]")}
            return {"from": "DB_FROM_PARAMS", "member": head, "type": kind.rstrip("?"), "nullable": kind.endswith("?")}
        if name in IMPLICIT:
            source, member, kind = IMPLICIT[name]
            return {"from": source, "member": member, "type": kind}
        raise Refusal(f"{statement.place}: :{name} is not declared")

    def finish(self, statement):
        text = self.expand(statement.place, statement.body)
        names = []

        def number(match):
            if match.group(1) not in names:
                names.append(match.group(1))
            return f"${names.index(match.group(1)) + 1}"

        pieces = STRING.split(text)
        statement.sql = " ".join("".join(piece if piece.startswith("'") else PARAM.sub(number, piece) for piece in pieces).split())
        statement.order = [self.resolve(statement, name) for name in names]
        unused = [name for name, _ in statement.params if not any(used.split(".")[0] == name for used in names)]
        if unused:
            raise Refusal(f"{statement.place}: {', '.join(unused)} is declared and not used")
        if len(names) > PARAMS_MAX:
            raise Refusal(f"{statement.place}: {len(names)} parameters, at most {PARAMS_MAX}")
        if statement.together:
            statement.together.sql = " ".join(self.expand(statement.together.place, statement.together.body, statement).split())
            statement.together.order = statement.order * TOGETHER


# ---- writing ----

def c_string(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def c_member(file, name, kind, for_row):
    base = kind.rstrip("?")
    row = file.rows.get(base.removesuffix("[]")) or (file.views[base][0] if base in file.views else None)
    if row and base.endswith("[]"):
        return f"\tstruct db_messages {name}; /* of {row.name} */\n"
    if row:
        return f"\t{'' if for_row else 'const '}{row.c_type} *{name};\n"
    _, param, column = TYPES[base]
    text = column if for_row else param
    if text is None:
        raise Refusal(f"{name}: a column cannot be {base}")
    if kind.endswith("?") and not for_row and not text.rstrip().endswith("*") and "struct" not in text:
        return f"\tconst {text}*{name}; /* NULL = SQL NULL */\n"
    return f"\t{text}{name};\n"


def header(file):
    lines = [f"/* Generated by proto/gen/statements.py: the statements of {file.name}. Do not edit. */\n#pragma once\n\n",
             '#include "db/sql.h"\n']
    if file.rows:
        lines.append(f'#include "{file.name}/rows.pb-c.h"\n')
    lines.append(f"\n/* All of them, ended by NULL. */\nextern const struct db_stmt *const {file.name}_statements[];\n\n")
    for statement in file.statements:
        lines.append(f"/* {statement.comment or statement.name} */\n")
        if statement.params:
            lines += [f"struct sql_{statement.name} {{\n", *(c_member(file, name, kind, False) for name, kind in statement.params), "};\n"]
        if statement.columns:
            lines += [f"struct sql_{statement.name}_row {{\n", *(c_member(file, name, kind, True) for name, kind in statement.columns), "};\n"]
        lines.append(f"extern const struct db_stmt sql_{statement.name};\n\n")
    return "".join(lines)


def param_row(statement, param):
    holder = {"DB_FROM_SCOPE": "struct sql_scope", "DB_FROM_EFFECTS": "struct db_effects"}.get(param["from"], f"struct sql_{statement}")
    row = param.get("row")
    parts = [param["from"], TYPES[param["type"]][0], "true" if param.get("nullable") else "false", "true" if param.get("many") else "false",
             f"offsetof({holder}, {param['member']})", str(param.get("field", -1)), f"&{row.descriptor}" if row else "NULL"]
    return f"\t{{{', '.join(parts)}}},\n"


def column_rows(file, statement):
    lines = []
    for name, kind in statement.columns:
        place = f"offsetof(struct sql_{statement.name}_row, {name})"
        if kind in file.rows or kind in file.views:
            row, readable = file.columns_of(kind)
            for at, field in enumerate(readable):
                lines.append(f"\t{{{TYPES[row.types[field]][0]}, {'true' if at == 0 else 'false'}, {place}, {row.index[field]}, &{row.descriptor}}},\n")
        else:
            lines.append(f"\t{{{TYPES[kind.rstrip('?')][0]}, false, {place}, -1, NULL}},\n")
    return lines


def one_source(file, statement):
    lines, name = [], statement.name
    if statement.order:
        lines += [f"static const struct db_param {name}_params[] = {{\n", *(param_row(name, param) for param in statement.order), "};\n"]
    columns = column_rows(file, statement)
    if columns:
        lines += [f"static const struct db_column {name}_columns[] = {{\n", *columns, "};\n"]
    if statement.together:
        lines += [f"static const struct db_stmt {name}_together = {{\n\t\"{name}_together\",\n\t{c_string(statement.together.sql)},\n\tDB_READ,\n}};\n"]
    lines += [f"const struct db_stmt sql_{name} = {{\n\t\"{name}\",\n\t{c_string(statement.sql)},\n\tDB_{statement.kind.upper()},\n",
              f"\t{'&' + name + '_together' if statement.together else 'NULL'},\n",
              f"\t{name + '_params' if statement.order else 'NULL'}, {len(statement.order)},\n",
              f"\t{name + '_columns' if columns else 'NULL'}, {len(columns)}, {f'sizeof(struct sql_{name}_row)' if columns else '0'},\n"
              f"\t{'true' if statement.ahead else 'false'},\n}};\n\n"]
    return "".join(lines)


def source(file):
    lines = [f"/* Generated by proto/gen/statements.py: the statements of {file.name}. Do not edit. */\n",
             f'#include "{file.name}_sql.gen.h"\n\n#include <stddef.h>\n\n']
    lines += [one_source(file, statement) for statement in file.statements]
    lines += [f"const struct db_stmt *const {file.name}_statements[] = {{\n", *(f"\t&sql_{statement.name},\n" for statement in file.statements), "\tNULL,\n};\n"]
    return "".join(lines)


def for_psql(file):
    """PREPARE for each statement: psql -f this, then EXPLAIN (ANALYZE) EXECUTE name(...)."""
    lines = [f"-- Generated: the statements of {file.name}. SET search_path = {file.name}, public; then EXPLAIN EXECUTE name(...).\n"]
    for statement in [one for each in file.statements for one in (each, each.together) if one]:
        types = ", ".join(param["type"] + ("[]" if param.get("many") else "") for param in statement.order)
        lines.append(f"PREPARE {statement.name}{f' ({types})' if types else ''} AS {statement.sql};\n")
    return "".join(lines)


def load_rows(path):
    if path == "-":
        return {}
    with open(path, encoding="utf-8") as text:
        proto = reader.parse_proto(path, text.read())
    return {message.name: Row(message, proto) for message in proto.messages}


def main(name, out, rows, paths):
    file = File(name, load_rows(rows))
    for path in paths:
        file.read(path)
    file.take_all()
    for statement in file.statements:
        file.finish(statement)
    for path, text in ((f"{name}_sql.gen.h", header(file)), (f"{name}_sql.gen.c", source(file)), (f"{name}.sql", for_psql(file))):
        with open(os.path.join(out, path), "w", encoding="utf-8") as target:
            target.write(text)


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
    except (Refusal, ContractError) as wrong:
        sys.exit(str(wrong))
