"""Hold the size budgets: lines per file, lines per function, methods per port.

The limits are hard and are not raised to pass: a part that outgrows them is
split by meaning. Run: python tools/sizes.py [ROOT …]; exit 1 names each breach.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 500
FUNCTION_LINES = 60
PROTOCOL_METHODS = 6
HANDLER_LINES = 30
PROVIDER_FILE_LINES = 350
PROVIDER_ROW_LINES = 60
DEFAULT_ROOTS = ("src", "tools", "tests", "benchmarks")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def file_limit(path: Path) -> int:
    """The most lines a file may have, by where it stands."""
    return PROVIDER_FILE_LINES if "providers" in path.parts else FILE_LINES


def function_limit(path: Path) -> int:
    """The most lines a function may have, by where it stands."""
    return HANDLER_LINES if "api" in path.parts else FUNCTION_LINES


def is_protocol(node: ast.ClassDef) -> bool:
    """Whether a class is a Protocol."""
    names = [base.id for base in node.bases if isinstance(base, ast.Name)]
    return "Protocol" in names


def breaches(path: Path) -> Iterator[str]:
    """Name each budget that a Python file breaks."""
    text = path.read_text()
    lines = text.count("\n")
    if lines > file_limit(path):
        yield f"{path}: {lines} lines, at most {file_limit(path)}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Function):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > function_limit(path):
                yield (
                    f"{path}:{node.lineno} {node.name}: {length} lines, "
                    f"at most {function_limit(path)}"
                )
        elif isinstance(node, ast.ClassDef) and is_protocol(node):
            methods = sum(isinstance(item, Function) for item in node.body)
            if methods > PROTOCOL_METHODS:
                yield (
                    f"{path}:{node.lineno} {node.name}: {methods} methods, "
                    f"at most {PROTOCOL_METHODS}"
                )


def row_breaches(path: Path) -> Iterator[str]:
    """Name a provider row, without its models, that is too long."""
    row = path.read_text().split("[[models]]", 1)[0]
    lines = row.count("\n")
    if lines > PROVIDER_ROW_LINES:
        yield f"{path}: the row has {lines} lines, at most {PROVIDER_ROW_LINES}"


def main(roots: list[str]) -> int:
    """Check every file below the roots; give the exit code."""
    found: list[str] = []
    for root in roots or DEFAULT_ROOTS:
        for path in sorted(Path(root).rglob("*.py")):
            found.extend(breaches(path))
        for path in sorted(Path(root).rglob("catalog/*.toml")):
            found.extend(row_breaches(path))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
