"""Whatever is sent as a password, only the right one opens."""

from __future__ import annotations

from hypothesis import given, settings

from tests.fuzz.answers import ask
from tests.fuzz.credentials import AUTHORIZATION, RIGHT, is_right


@settings.get_profile("fuzz")
@given(header=AUTHORIZATION)
def test_nobody_else_enters(locked_port: int, header: bytes) -> None:
    """Without a user's password there is no page, and no error either."""
    answer = ask(locked_port, b"Authorization: " + header)
    assert answer.status in ((200, 401) if is_right(header) else (401,))
    assert ("www-authenticate" in answer.headers) == (answer.status == 401)


@settings.get_profile("fuzz")
@given(header=RIGHT)
def test_users_enter_whatever_others_have_sent(locked_port: int, header: bytes) -> None:
    """Bytes of any kind may be in a user's name and password."""
    assert ask(locked_port, b"Authorization: " + header).status == 200
