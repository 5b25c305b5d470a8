"""Numbers are short, and never say what is not so."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from metrics_commands.status import words


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (words.write_number, None, "–"),
        (words.write_number, 0.0, "0"),
        (words.write_number, 0.0004, "< 0.001"),
        (words.write_number, 12.345, "12.3"),
        (words.write_number, 12345.6, "12,346"),
        (words.write_share, 0.0, "0 %"),
        (words.write_share, 0.00001, "< 0.01 %"),
        (words.write_share, 0.0756, "7.56 %"),
        (words.write_share, 1.0, "100 %"),
        (words.write_seconds, 0.0, "0 s"),
        (words.write_seconds, 0.00002, "< 0.1 ms"),
        (words.write_seconds, 0.0123, "12.3 ms"),
        (words.write_seconds, 0.9999, "1,000 ms"),
        (words.write_seconds, 2.5, "2.5 s"),
        (words.write_age, None, "–"),
        (words.write_age, 59.9, "59 s"),
        (words.write_age, 3600.0, "1 h"),
        (words.write_age, 200_000.0, "2 d"),
        (words.write_bytes, 0, "0 B"),
        (words.write_bytes, 512_000, "512 KB"),
        (words.write_bytes, 3e15, "3,000 TB"),
        (words.write_name, "a_<b>", "a_<wbr>&lt;b&gt;"),
        (words.write_name, "app.api:list", "app.<wbr>api:<wbr>list"),
    ],
)
def test_a_value_is_written_for_people(
    write: Callable[[object], str], value: object, text: str
) -> None:
    """A small number is not shown as none, and a large one has few digits."""
    assert write(value) == text
