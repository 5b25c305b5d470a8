"""Split a shell line into its simple commands, with variables expanded as ``sh`` would.

What cannot be known without running something (a command substitution, ``$1``) becomes UNKNOWN,
a character that no argument of a program can have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

UNKNOWN = "\0"
# Linux takes no longer argument, so no shell is ever given a longer line.
LONGEST_LINE = 131_072
MOST_COMMANDS = 20
DEEPEST = 20

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OPERATORS = ";&|()<>\n"
BLANKS = " \t\r\v\f"
PLAIN = re.compile(r"[^ \t\r\v\f\n\\'\"$`;&|()<>#\0]+")
PLAIN_INSIDE = {'"': re.compile(r'[^\\"$`\0]+'), "}": re.compile(r"""[^\\"'$`}\0]+""")}
OPERATOR = re.compile(r":?[-=+?]")
IN_PARENTHESES = re.compile(r"\\.|'[^']*'?|[()]", re.DOTALL)
KEYWORDS = {"!", "{", "}", "if", "then", "elif", "else", "fi", "do", "done", "while", "until"}


@dataclass
class Command:
    """One simple command: its words, what its process sees, and each variable that it used."""

    words: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)


class _TooMuchError(Exception):
    """The line is longer, deeper or expands to more than any shell is given."""


def split(line: str, environment: Mapping[str, str]) -> list[Command]:
    """Return the simple commands of a line; of one beyond all limits, those before the excess."""
    if len(line) > LONGEST_LINE:
        return []
    reader = _Reader(line, environment)
    with suppress(_TooMuchError):
        reader.read()
    return reader.commands


class _Reader:
    """Reads from left to right, each character once."""

    def __init__(self, line: str, environment: Mapping[str, str]) -> None:
        self.line = line.replace("\\\r\n", "").replace("\\\n", "")
        self.at = 0
        self.budget = 4 * LONGEST_LINE
        self.exported = dict(environment)
        self.variables = dict(environment)
        self.commands: list[Command] = []
        self.start_command()

    def start_command(self) -> None:
        self.words: list[str] = []
        self.assignments: dict[str, str] = {}
        self.used: dict[str, str] = {}
        self.start_word()

    def start_word(self) -> None:
        self.parts: list[str] = []
        self.started = False
        self.assigned = ""
        self.is_target = False

    def read(self) -> None:
        while self.at < len(self.line):
            character = self.line[self.at]
            if plain := PLAIN.match(self.line, self.at):
                self.at = plain.end()
                self.add_plain(plain[0])
            elif character in ";&|()\n":
                self.at += 1
                self.end_command()
            elif character in "<>":
                self.redirect()
            elif character in BLANKS:
                self.at += 1
                self.end_word()
            elif character == "#":
                self.read_hash()
            else:
                self.read_special()
        self.end_command()

    def add(self, text: str) -> None:
        self.budget -= len(text)
        if self.budget < 0:
            raise _TooMuchError
        self.parts.append(text)
        self.started = True

    def add_plain(self, text: str) -> None:
        name, equals, value = text.partition("=")
        first = not self.started and (not self.words or self.words[0] == "export")
        if equals and first and NAME.fullmatch(name):
            self.assigned = name
            self.started = True
            text = value
        self.add(text)

    def add_fields(self, text: str) -> None:
        """Add what an unquoted variable holds: its spaces end words, except in an assignment."""
        fields = [each for each in re.split("[ \t\n]+", text) if each]
        if self.assigned or self.is_target or fields == [text]:
            self.add(text)
            return
        if text[:1] in (" ", "\t", "\n"):
            self.end_word()
        for number, each in enumerate(fields):
            if number:
                self.end_word()
            self.add(each)
        if fields and text[-1:] in (" ", "\t", "\n"):
            self.end_word()

    def end_word(self) -> None:
        word = "".join(self.parts)
        if self.is_target and not self.started:
            return
        if self.assigned and self.words:
            self.variables[self.assigned] = self.exported[self.assigned] = word
        elif self.assigned:
            self.assignments[self.assigned] = word
        elif self.started and not self.is_target and (self.words or word not in KEYWORDS):
            self.words.append(word)
        self.start_word()

    def end_command(self) -> None:
        self.is_target = self.is_target and self.started
        self.end_word()
        if self.words and self.words[0] == "export":
            known = {name: self.variables[name] for name in self.words if name in self.variables}
            self.exported.update(known)
        elif self.words:
            if len(self.commands) >= MOST_COMMANDS:
                raise _TooMuchError
            environment = self.exported | self.assignments
            self.commands.append(Command(self.words, environment, self.used))
        else:
            self.variables.update(self.assignments)
            again = {k: v for k, v in self.assignments.items() if k in self.exported}
            self.exported.update(again)
        self.start_command()

    def redirect(self) -> None:
        if "".join(self.parts).isdigit():
            self.start_word()
        self.end_word()
        while self.line[self.at : self.at + 1] in ("<", ">", "&", "|"):
            self.at += 1
        self.is_target = True

    def read_hash(self) -> None:
        # After an expansion that gave nothing, no word has started, and yet it is no comment.
        if self.started or self.line[self.at - 1 : self.at] not in (*BLANKS, *OPERATORS, ""):
            self.at += 1
            self.add("#")
            return
        end = self.line.find("\n", self.at)
        self.at = len(self.line) if end < 0 else end

    def read_special(self) -> None:
        """Read a quotation, an escaped character, or an expansion outside quotes."""
        character = self.line[self.at]
        self.at += 1
        if character == "'":
            self.add(self.read_single_quoted())
        elif character == '"':
            self.add(self.read_double_quoted())
        elif character == "\\":
            self.add(self.line[self.at : self.at + 1] or "\\")
            self.at += 1
        elif character == "$":
            self.add_fields(self.read_expansion(0, live=True))
        elif character == "`":
            self.skip_backquoted()
            self.add(UNKNOWN)
        else:
            self.add(UNKNOWN)

    def read_single_quoted(self) -> str:
        end = self.line.find("'", self.at)
        end = len(self.line) if end < 0 else end
        text = self.line[self.at : end]
        self.at = end + 1
        return text

    def read_double_quoted(self, depth: int = 0, *, live: bool = True) -> str:
        text = self.read_text('"', depth, live=live)
        self.at += 1
        return text

    def read_text(self, end: str, depth: int, *, live: bool) -> str:
        """Read up to ``end``, which is not taken: inside double quotes, or in ``${X:-…}``."""
        parts: list[str] = []
        while self.at < len(self.line) and self.line[self.at] != end:
            character = self.line[self.at]
            if plain := PLAIN_INSIDE[end].match(self.line, self.at):
                self.at = plain.end()
                parts.append(plain[0])
                continue
            self.at += 1
            if character == "\\":
                following = self.line[self.at : self.at + 1]
                parts.append(following if following in '$`"\\}' else "\\" + following)
                self.at += 1
            elif character == "$":
                parts.append(self.read_expansion(depth, live=live))
            elif character == '"':
                parts.append(self.read_double_quoted(depth, live=live))
            elif character == "'":
                parts.append(self.read_single_quoted())
            elif character == "`":
                self.skip_backquoted()
                parts.append(UNKNOWN)
            else:
                parts.append(UNKNOWN if character == "\0" else character)
        return "".join(parts)

    def read_expansion(self, depth: int, *, live: bool) -> str:
        """Read what follows a ``$``; where not ``live``, nothing is used, assigned or kept."""
        if depth >= DEEPEST:
            raise _TooMuchError
        following = self.line[self.at : self.at + 1]
        if name := NAME.match(self.line, self.at):
            self.at = name.end()
            return self.use(name[0], self.variables.get(name[0], ""), live=live)
        if following == "{":
            self.at += 1
            return self.read_braces(depth + 1, live=live)
        if following == "(":
            self.skip_parentheses()
            return UNKNOWN
        if following and following in "@*#?-$!0123456789":
            self.at += 1
            return UNKNOWN
        return "$"

    def read_braces(self, depth: int, *, live: bool) -> str:
        name = NAME.match(self.line, self.at)
        self.at = name.end() if name else self.at
        operator = OPERATOR.match(self.line, self.at)
        self.at = operator.end() if operator else self.at
        value = self.variables.get(name[0]) if name else None
        is_set = bool(value) if operator and ":" in operator[0] else value is not None
        kind = operator[0][-1] if operator else ""
        takes_word = bool(name) and kind != "" and (is_set if kind == "+" else not is_set)
        word = self.read_text("}", depth, live=live and takes_word)
        self.at += 1
        if not name or (not operator and word):
            return UNKNOWN
        if not takes_word:
            return self.use(name[0], "" if kind == "+" else value or "", live=live)
        if kind == "=" and live:
            self.variables[name[0]] = word
        if kind == "?":
            word = UNKNOWN
        return self.use(name[0], word, live=live)

    def use(self, name: str, value: str, *, live: bool) -> str:
        if not live:
            return ""
        self.budget -= len(value)
        if self.budget < 0:
            raise _TooMuchError
        self.used[name] = value
        return value

    def skip_parentheses(self) -> None:
        depth = 0
        for found in IN_PARENTHESES.finditer(self.line, self.at):
            depth += {"(": 1, ")": -1}.get(found[0], 0)
            if depth == 0 and found[0] == ")":
                self.at = found.end()
                return
        self.at = len(self.line)

    def skip_backquoted(self) -> None:
        end = self.line.find("`", self.at)
        self.at = len(self.line) if end < 0 else end + 1
