"""Errors that a user can fix, each with its next step and its exit code."""

from __future__ import annotations

import os
import pwd


class ExporterError(Exception):
    """Say what happened, what to do next, and how the command should exit.

    Exit codes are a contract: 1, the answer is bad; 2, the question could not be asked.
    """

    def __init__(self, message: str, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class ConfigurationError(ExporterError):
    """Refuse a value that a setting, an environment variable or an option holds."""

    def __init__(self, message: str, hint: str = "", *, from_option: bool = False) -> None:
        super().__init__(message, hint, exit_code=2)
        self.from_option = from_option


def name_user(uid: int | None = None) -> str:
    """Return a user's name, by default of this process's; the number where it has none."""
    number = os.geteuid() if uid is None else uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
