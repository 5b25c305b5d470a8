"""Users of a fuzzed exporter, and what those send who are none."""

from __future__ import annotations

import base64

from hypothesis import strategies as st

USERS = {
    b"alice": b"wonderland",
    b"bob": b"x" * 72,
    "josé".encode(): "contraseña:".encode(),
    b"eve$2b$04$": b" ",
}


def encode(user: bytes, password: bytes) -> bytes:
    """Return both as Basic authentication has them."""
    return base64.b64encode(user + b":" + password)


def is_right(header: bytes) -> bool:
    """Tell whether anything in a header could be taken for a user with the password."""
    try:
        user, _, password = base64.b64decode(header.split()[-1]).partition(b":")
    except (ValueError, IndexError):
        return False
    return user in USERS and USERS[user] == password


RIGHT = st.sampled_from([b"Basic " + encode(*each) for each in USERS.items()])
NEARLY = st.builds(
    lambda user, password, before, after: user + b":" + before + password + after,
    st.sampled_from([*USERS, b"nobody", b""]),
    st.sampled_from([*USERS.values(), b""]) | st.binary(max_size=80),
    st.sampled_from((b"", b" ", b":", b"\0")),
    st.sampled_from((b"", b"\0", b"\0x", b"x", b"\n")),
)
WRONG = st.builds(
    lambda scheme, separator, token, after: scheme + separator + token + after,
    st.sampled_from((b"Basic", b"basic", b"BASIC", b"Bearer", b"Digest", b"Basic Basic", b"")),
    st.sampled_from((b" ", b"  ", b"\t", b"")),
    (NEARLY | st.binary(max_size=100)).map(base64.b64encode)
    | st.binary(max_size=40).map(lambda data: bytes(set(data) - set(range(32)) - {127})),
    st.sampled_from((b"", b"=", b"==", b" ", b", Basic eA==", b"A" * 20_000)),
)
AUTHORIZATION = st.one_of(RIGHT, WRONG, WRONG, WRONG, WRONG)
