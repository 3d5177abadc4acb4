"""Counts the cells of the fault matrix over all of pytest's workers.

After a run of the whole suite as many cells must have passed as the table has:
one that was skipped or lost fails the run.
"""

import pytest
from tests.faults.table import CELLS

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


def _is_whole(config: pytest.Config) -> bool:
    """Whether the run was asked for nothing less than the matrix."""
    chosen = any("::" in argument for argument in config.args)
    return not (chosen or config.option.keyword or config.option.markexpr)


def _complete() -> bool:
    return sum(_passed.values()) == len(CELLS)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a whole run in which a cell did not pass."""
    config = session.config
    if not _is_worker(config) and _is_whole(config) and not _complete():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many cells there are and how many passed."""
    if not _passed and not _is_whole(config):
        return
    passed = sum(_passed.values())
    terminalreporter.write_sep("-", "fault matrix")
    terminalreporter.write_line(f"cells = {len(CELLS)}, passed = {passed}")
    if not _complete():
        missing = len(CELLS) - passed
        terminalreporter.write_line(f"{missing} cells failed or did not run", red=True)
