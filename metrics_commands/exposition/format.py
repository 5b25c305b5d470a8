"""The formats that a page can have, and the content type by which Prometheus knows each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prometheus_client.openmetrics.exposition import ALLOWUTF8, DOTS, UNDERSCORES, VALUES

MediaType = Literal["text/plain", "application/openmetrics-text"]
Version = Literal["0.0.4", "1.0.0"]

PLAIN: MediaType = "text/plain"
OPENMETRICS: MediaType = "application/openmetrics-text"


@dataclass(frozen=True)
class Format:
    """A format; ``escaping`` is how it writes names that older parsers would not read."""

    media_type: MediaType = PLAIN
    version: Version = "0.0.4"
    escaping: str = UNDERSCORES

    @property
    def openmetrics(self) -> bool:
        """Tell whether the page is OpenMetrics, and not Prometheus's older text format."""
        return self.media_type == OPENMETRICS

    @property
    def escapes(self) -> bool:
        """Tell whether a client may choose the escaping: the oldest format knows one only."""
        return self.version != "0.0.4"

    @property
    def content_type(self) -> str:
        """Return the value of the Content-Type header."""
        known = f"{self.media_type}; version={self.version}; charset=utf-8"
        return f"{known}; escaping={self.escaping}" if self.escapes else known


TEXT = Format()
ESCAPINGS = (UNDERSCORES, ALLOWUTF8, DOTS, VALUES)
# In the order in which we choose where the client does not.
FORMATS = (
    TEXT,
    *(Format(PLAIN, "1.0.0", escaping) for escaping in ESCAPINGS),
    *(Format(OPENMETRICS, "1.0.0", escaping) for escaping in ESCAPINGS),
)
