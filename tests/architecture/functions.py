# SPDX-License-Identifier: Apache-2.0
"""Where the functions of a source begin and end.

The C++ half is a brace matcher, not a parser: comments, strings and
preprocessor lines are blanked, and what stands before a brace tells whether it
opens a function. What is inside a function, lambdas too, counts for it.
"""

import ast
import dataclasses
import re

# Keywords whose brace opens a scope that can hold functions.
_SCOPE = re.compile(r"^(?:inline\s+)?(?:class|struct|union|extern)\b")
_NAMESPACE = re.compile(r"\bnamespace\b[\s\w:]*$")
_PREFIX = re.compile(
    r"^(?:(?:static|inline|constexpr|typedef|export)\b|\[\[[^\]]*\]\])\s*"
)
_ACCESS = re.compile(r"\s*(?:public|private|protected)\s*:")
_INITIALISED_MEMBER = re.compile(r"\)[^()]*(?<!:):(?!:).*[\w>]$", re.DOTALL)
_BLANKED = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^(\s]*)\(.*?\)(?P=d)"|"(?:\\.|[^"\\\n])*"|'
    r"(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'",
    re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Function:
    """Lines count from 1; both ends belong to the function."""

    name: str
    first: int
    last: int

    @property
    def length(self):
        return self.last - self.first + 1


def of_python(text):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        Function(node.name, node.lineno, node.end_lineno)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, kinds)
    ]


def of_shell(text):
    found, name, first = [], None, 0
    for number, line in enumerate(text.splitlines(), 1):
        opened = re.match(r"(\w+)\(\) [{(]\s*$", line)
        if opened:
            name, first = opened.group(1), number
        elif name and re.match(r"[})]", line):
            found.append(Function(name, first, number))
            name = None
    return found


def of_cxx(text):
    return _Matcher(_blank(text)).run()


def _blank(text):
    """The text with comments, literals and directives as spaces."""

    def spaces(match):
        return re.sub(r"[^\n]", " ", match.group())

    lines, continued = [], False
    for line in _BLANKED.sub(spaces, text).split("\n"):
        directive = continued or line.lstrip().startswith("#")
        continued = directive and line.rstrip().endswith("\\")
        # Conditionals stay: a brace may open in each of their branches.
        kept = re.match(r"\s*#\s*(if|el|endif)", line) and not continued
        lines.append(line if kept or not directive else "")
    return "\n".join(lines)


class _Matcher:
    """Walks the blanked text once, keeping a stack of open braces."""

    def __init__(self, text):
        self.text = text
        self.found = []
        self.stack = []  # (kind, head, first line, parens) of each open brace.
        self.branches = []  # (stack, parens) at each open #if.
        self.parens = 0
        self.head = ""
        self.head_line = 0

    def run(self):
        for number, line in enumerate(self.text.split("\n"), 1):
            if line.lstrip().startswith("#"):
                self.conditional(line.lstrip()[1:].lstrip())
                continue
            for character in line + "\n":
                self.step(character, number)
        return self.found

    def conditional(self, directive):
        if directive.startswith("if"):
            self.branches.append((list(self.stack), self.parens))
        elif directive.startswith("el") and self.branches:
            stack, self.parens = self.branches[-1]
            self.stack = list(stack)
            self.reset()
        elif directive.startswith("endif") and self.branches:
            self.branches.pop()

    def step(self, character, number):
        if character == "{":
            self.open(number)
        elif character == "}":
            self.close(number)
        elif character == ";" and self.parens == 0:
            self.reset()
        else:
            self.parens += (character == "(") - (character == ")")
            if not self.head.strip():
                self.head, self.head_line = "", number
            self.head += character
            if _ACCESS.fullmatch(self.head):
                self.reset()

    def open(self, number):
        kind = self.kind()
        self.stack.append((kind, self.head, self.head_line or number, self.parens))
        if kind != "value":
            self.reset()
        self.parens = 0

    def close(self, number):
        if not self.stack:
            return
        kind, head, first, self.parens = self.stack.pop()
        if kind == "function":
            self.found.append(Function(_name(head), first, number))
        if kind == "value":
            # The head goes on behind the braces: it is an initialiser, perhaps
            # of a constructor whose body is to come.
            self.head, self.head_line = head + "()", first
        else:
            self.reset()

    def reset(self):
        self.head, self.head_line = "", 0

    def kind(self):
        """What a brace opens here: function, scope, block or value."""
        if any(kind == "function" for kind, *_ in self.stack):
            return "block"
        head = _without_prefixes(self.head.strip())
        if _NAMESPACE.search(head):
            return "scope"  # Also behind a macro without a semicolon.
        if _SCOPE.match(head) and not _is_function_of_class_type(head):
            return "scope"
        if self.parens or "(" not in head or head.startswith("enum"):
            return "value"
        if _INITIALISED_MEMBER.search(head):
            return "value"
        return "function"


def _without_prefixes(head):
    while True:
        match = _PREFIX.match(head)
        if match:
            head = head[match.end() :]
        elif re.match(r"template\s*<", head):
            head = _behind_angles(head).lstrip()
        else:
            return head


def _behind_angles(head):
    depth = 0
    for position, character in enumerate(head):
        depth += (character == "<") - (character == ">")
        if character == ">" and depth == 0:
            return head[position + 1 :]
    return ""


def _is_function_of_class_type(head):
    """Tells `struct stat Read(int fd) {` from `struct alignas(8) Stat {`."""
    plain = re.sub(r"\b(?:alignas|__attribute__|ABSL_\w+)\s*\(+[^)]*\)+", "", head)
    base = plain.split(":", 1)[0] if "::" not in plain else plain
    return re.match(r"(class|struct|union)\s+\w+[\s*&]+\w+\s*\(", base) is not None


def _name(head):
    test = re.match(r"\s*(?:TYPED_)?TEST(?:_[FP])?\s*\(\s*(\w+)\s*,\s*(\w+)", head)
    if test:
        return ".".join(test.groups())
    names = re.findall(r"([\w:~]+|operator\s*\S+?)\s*\(", _without_prefixes(head))
    return names[0] if names else head.strip()[:40]
