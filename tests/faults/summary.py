"""Counts the cells of the fault matrix over all of pytest's workers.

After a run that includes the matrix as many cells must have passed as the table
has: one that was skipped or lost fails the run. `tests/conftest.py` loads it.
"""

from pathlib import Path

import pytest

MATRIX = Path(__file__).with_name("test_fault_matrix.py")
PROPERTY = "fault_cells"
_passed: dict[str, int] = {}


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take the number of cells that a test has run."""
    if report.when == "call" and report.passed:
        for name, value in report.user_properties:
            if name == PROPERTY:
                _passed[report.nodeid] = int(str(value))


def _is_asked(config: pytest.Config) -> bool:
    """Whether the run was to include the whole matrix."""
    if config.option.keyword or config.option.markexpr or config.option.collectonly:
        return False
    paths = (Path(config.invocation_params.dir, argument) for argument in config.args)
    return any(MATRIX.is_relative_to(path.resolve()) for path in paths)


def _missing() -> int:
    """How many of the table's cells have not passed."""
    from tests.faults.table import CELLS

    return len(CELLS) - sum(_passed.values())


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which a cell did not pass."""
    config = session.config
    if not _is_worker(config) and _is_asked(config) and _missing():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many cells there are and how many passed."""
    if not _passed and not _is_asked(config):
        return
    passed, missing = sum(_passed.values()), _missing()
    terminalreporter.write_sep("-", "fault matrix")
    terminalreporter.write_line(f"cells = {passed + missing}, passed = {passed}")
    if missing:
        terminalreporter.write_line(f"{missing} cells failed or did not run", red=True)
