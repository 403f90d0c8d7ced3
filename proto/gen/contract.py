"""Reads and checks the contract: proto/*.proto with its annotations, errors.txt, processes.txt."""
import os

import checker
import reader
from model import Contract, ContractError, lower_snake, upper_snake

__all__ = ["ContractError", "load", "lower_snake", "upper_snake"]


def load(folder):
    """Reads proto/ and returns its Contract, or raises ContractError with everything that is wrong."""
    files = []
    for name in sorted(os.listdir(folder)):
        if name.endswith(".proto"):
            with open(os.path.join(folder, name), encoding="utf-8") as text:
                files.append(reader.parse_proto(name, text.read()))
    contract = Contract(files, reader.parse_errors(os.path.join(folder, "errors.txt")),
                        reader.parse_processes(os.path.join(folder, "processes.txt")),
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
        checker.fill_method(method, complain)
    checker.resolve_types(contract, complain)
    checker.check_messages(contract, complain)
    checker.check_events(contract, complain)
    for method in contract.methods:
        checker.check_method(contract, method, complain)
    checker.check_tables(contract, complain)
    checker.check_graph(contract, complain)
    if problems:
        raise ContractError("\n".join(problems))
    contract.methods.sort(key=lambda method: method.id)
    return contract
