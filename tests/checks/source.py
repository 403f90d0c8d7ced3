"""The tree as the checks see it: which files there are, C without comments and strings, functions, includes."""
import os
import re
import shutil
import subprocess

SKIPPED = {".git", "build", "node_modules", "__pycache__", "data"}
TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


class Tree:
    """A checkout. Paths are relative to its root, with slashes."""

    def __init__(self, root):
        self.root = root
        self.cache = {}
        self.files = sorted(self.list_git() or self.list_folder())

    def list_git(self):
        """What git would commit: tracked files and new ones that are not ignored."""
        if not os.path.exists(os.path.join(self.root, ".git")) or not shutil.which("git"):
            return []
        run = subprocess.run(["git", "-C", self.root, "ls-files", "-co", "--exclude-standard"], text=True,
                             capture_output=True, check=False)
        return [path for path in run.stdout.splitlines() if os.path.isfile(os.path.join(self.root, path))]

    def list_folder(self):
        found = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if name not in SKIPPED]
            found += [os.path.relpath(os.path.join(folder, name), self.root) for name in names]
        return found

    def read(self, path):
        if path not in self.cache:
            with open(os.path.join(self.root, path), "rb") as file:
                self.cache[path] = file.read().decode("utf-8", "replace")
        return self.cache[path]

    def has(self, path):
        return path in self.files

    def match(self, *endings):
        return [path for path in self.files if path.endswith(endings)]

    def code(self):
        return self.match(".c", ".h")


def blank(text, keep_strings=False):
    """C with comments (and strings) replaced by blanks; lines stay where they are."""
    def replace(match):
        token = match.group()
        if keep_strings and token[0] in "\"'":
            return token
        return "".join(char if char == "\n" else " " for char in token)
    return TOKEN.sub(replace, text)


def includes(text):
    """(quoted, header) of each #include."""
    return [(mark == '"', name) for mark, name in re.findall(r'^\s*#\s*include\s*(["<])([^">]+)', text, re.M)]


class Function:
    def __init__(self, name, line, length, params, static):
        self.name, self.line, self.length, self.params, self.static = name, line, length, params, static


def count_params(signature):
    inside = signature[signature.index("(") + 1:signature.rindex(")")].strip()
    if inside in ("", "void"):
        return 0
    depth, count = 0, 1
    for char in inside:
        depth += (char == "(") - (char == ")")
        count += char == "," and depth == 0
    return count


def functions(text):
    """Function definitions in our style: the opening and closing braces stand alone in column one."""
    lines = blank(text).split("\n")
    found, start = [], None
    for number, line in enumerate(lines):
        if line.rstrip() == "{" and number and lines[number - 1].rstrip().endswith(")"):
            start = number
        elif line.startswith("}") and start is not None:
            top = start - 1
            while top > 0 and lines[top - 1].strip() and not re.search(r"[;}]\s*$|^#", lines[top - 1]):
                top -= 1
            signature = " ".join(lines[top:start])
            name = re.search(r"(\w+)\s*\(", signature)
            found.append(Function(name.group(1) if name else "?", top + 1, number - top + 1, count_params(signature),
                                  bool(re.match(r"\s*static\b", signature))))
            start = None
    return found
