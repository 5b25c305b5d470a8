"""What strangers send: what the rules allow, what nearly follows them, and anything else."""

from __future__ import annotations

import string
from collections.abc import Sequence

from hypothesis import strategies as st

Text = st.SearchStrategy[str]

# What a header may hold: no control characters, and of the rest what Latin-1 has.
JUNK: Text = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=30)
TOKEN: Text = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1)


def mostly(known: Sequence[str], junk: Text = JUNK) -> Text:
    """Draw what is known, and sometimes not."""
    return st.one_of(*[st.sampled_from(known)] * 4, junk)


def join(parts: Text, separators: Sequence[str], most: int) -> Text:
    """Draw a list in one text, of which the separators are not always the same."""
    return st.builds(
        lambda separator, drawn: separator.join(drawn),
        st.sampled_from(separators),
        st.lists(parts, max_size=most),
    )


MEDIA_TYPES = (
    "text/plain", "application/openmetrics-text", "application/vnd.google.protobuf", "text/html",
    "*/*", "text/*", "application/*", "*", "TEXT/Plain", "text", "text/", "/", "",
)  # fmt: skip
PARAMETERS = (
    "version=0.0.4", "version=1.0.0", "version=0.0.1", "version=2.0.0", "version=abc", "version=",
    'version="1.0.0"', "escaping=allow-utf-8", "escaping=underscores", "escaping=dots",
    "escaping=values", "escaping=none", "escaping", "charset=utf-8", "charset=latin-1",
)  # fmt: skip
QUALITIES = (
    "q=0", "q=1", "q=0.5", "q=0.001", "q=1.000", "q=.5", "q=-1", "q=nan", "q=inf", "q=1e9",
    "q=0x1", "q=1_0", "q=", "q", "Q=0.3", "q=0.12345678901234567890", "q=\xb2",
)  # fmt: skip
CODINGS = (
    "gzip", "x-gzip", "identity", "*", "br", "zstd", "deflate", "GZIP", "gzip, gzip", "",
)  # fmt: skip

ACCEPT = join(
    join(mostly((*MEDIA_TYPES, *PARAMETERS, *QUALITIES)), (";", "; ", " ;\t"), 5),
    (",", ", ", ",,"),
    6,
)
ACCEPT_ENCODING = join(
    join(mostly((*CODINGS, *QUALITIES)), (";", "; ", " ;\t"), 3), (",", ", ", ",,"), 6
)
