"""Command lines of other programs: what is told of them, and what never is."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metrics_commands.ports.command_line import ADDRESS_OPTIONS, Start, describe, escape, read_start

TOKENS = st.text(string.ascii_letters, min_size=6, max_size=20).map("Zq".__add__)
NOISE = st.sampled_from(
    ["", "-v", "--workers", "4", "shop.wsgi", "--port=8001", "--bind=0.0.0.0:80", "-D", "x y", "/"]
)
BEGINNINGS = st.sampled_from(
    [
        ["gunicorn"],
        ["/usr/sbin/nginx"],
        ["nginx: master process"],
        ["node", "server.js"],
        ["python3", "manage.py", "runserver"],
        ["python3", "manage.py", "runserver", "8000"],
        ["python3", "manage.py", "send"],
        ["/My Folder/bin/python3.12", "-u", "-W", "ignore", "/My Folder/manage.py", "send"],
        ["python", "-m", "uvicorn"],
        ["python", "-um", "uvicorn"],
        ["python", "-mhttp.server"],
        ["python", "-c", "code"],
        ["python", "-ccode"],
        ["python", "-Ic", "code"],
        ["python", "-"],
        ["python", "--unknown"],
        ["sh", "-c"],
    ]
)
SHAPES = st.sampled_from(
    [
        "{}", "--token={}", "-p{}", "--{}", "-{}", "{}:8000", "u:{}@h:5432", "pg://u:{}@h/{}",
        "/{}", "/a/{}", "a b/{}", "--port {}", "[{}]:80", "--bind=u:{}@h:1", "{}\n", "--p={}:80",
    ]
)  # fmt: skip


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["gunicorn: master [shop.wsgi]"], "gunicorn …"),
        (["gunicorn:", "master", "[shop.wsgi]"], "gunicorn …"),
        (["gunicorn: master [shop.wsgi]", "", ""], "gunicorn …"),
        (
            ["/v/bin/python3", "/v/bin/gunicorn", "shop.wsgi", "-b", "0.0.0.0:8000", "-w", "4"],
            "python3 gunicorn … -b 0.0.0.0:8000 …",
        ),
        (
            ["python", "-m", "uvicorn", "shop.asgi:app", "--host", "::1", "--port", "8000"],
            "python -m uvicorn … --host ::1 --port 8000",
        ),
        (["python", "-um", "uvicorn", "shop.asgi:app"], "python -m uvicorn …"),
        (
            ["python3", "daphne", "-b", "127.0.0.1", "-p", "8001", "shop.asgi:application"],
            "python3 daphne -b 127.0.0.1 -p 8001 …",
        ),
        (["python", "manage.py", "runserver", "0.0.0.0:8000"],
         "python manage.py runserver 0.0.0.0:8000"),
        (["python", "-W", "ignore", "manage.py", "runserver", "8000"],
         "python … manage.py runserver 8000"),
        (["python", "-Wd", "-X", "dev", "manage.py", "shell"], "python … manage.py shell"),
        (["/A B/MacOS/Python", "/A B/manage.py", "migrate"], "Python manage.py migrate"),
        (["/opt/python@3.13/bin/python3.13t", "-m", "django", "runserver"],
         "python3.13t -m django runserver"),
        (["python", "-c", "import os", "--multiprocessing-fork"], "python …"),
        (["nginx: master process /usr/sbin/nginx -g daemon off;"], "nginx …"),
        (["nginx: worker process /etc/keys/private"], "nginx …"),
        (
            ["/usr/bin/docker-proxy", "-proto", "tcp", "-host-ip", "0.0.0.0", "-host-port", "8001",
             "-container-ip", "172.17.0.2", "-use-listen-fd"],
            "docker-proxy … -host-ip 0.0.0.0 -host-port 8001 -container-ip 172.17.0.2 …",
        ),
        (["/usr/lib/postgresql/15/bin/postgres", "-D", "/srv/db", "-p", "5432"],
         "postgres … -p 5432"),
        (["postgres: shop shop 127.0.0.1(5432) idle"], "postgres …"),
        (["node", "server.js", "--token", "X"], "node …"),
        (["/usr/bin/redis-server *:6379"], "redis-server …"),
        (["uwsgi", "--http=:8000", "--module", "shop.wsgi"], "uwsgi --http=:8000 …"),
        (["server", "--bind", "unix:/run/key.sock", "--port=x"], "server --bind … --port=…"),
        ([], "…"),
        (["", ""], "…"),
    ],
)  # fmt: skip
def test_programs_that_hold_ports_are_recognised(argv: list[str], shown: str) -> None:
    """A user knows which server it is and where it listens."""
    assert describe(argv) == shown


@given(BEGINNINGS, st.lists(NOISE, max_size=4), SHAPES, st.lists(NOISE, max_size=2), TOKENS)
@example(["python", "-ccode"], [], "{}", [], "Zqsecret")
@example(["python3", "manage.py", "send"], [], "{}:8000", [], "Zqsecret")
@settings(max_examples=150, deadline=None)
def test_an_argument_that_is_not_an_address_is_never_told(
    beginning: list[str], before: list[str], shape: str, after: list[str], token: str
) -> None:
    """No secret on a command line reaches a terminal or a log, wherever it stands."""
    if beginning[-1] == "runserver" and shape in ("{}:8000", "[{}]:80"):
        beginning = [*beginning, "--nothreading"]  # else it is the address that is served
    argv = [*beginning, *before, shape.replace("{}", token), *after]
    assert token not in describe(argv)


@given(
    st.sampled_from(
        ["app: {}", "app:{}", "app: a/{}", "app:u/{}", "/bin/app: /etc/{}", "app pg://u:{}@h/{}",
         "app[{}/{}]", "(app) /{}", "app={}", "app=a/{}", "\x1b[31m/{}", "app\n/{}"]
    ),
    st.booleans(),
    TOKENS,
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_title_that_a_process_gave_itself_tells_its_first_word_alone(
    shape: str, split: bool, token: str
) -> None:
    """What a server writes into its process title is hidden like its arguments."""
    title = shape.replace("{}", token)
    assert token not in describe(title.split(" ") if split and "/bin" not in title else [title])


@given(
    st.lists(
        st.one_of(
            st.text(st.characters(), max_size=8),
            st.sampled_from(["python", "-m", "manage.py", "a\x1b[2J", "\x1b]0;x\x07", "\udcff"]),
            st.builds("{}{}".format, st.sampled_from(sorted(ADDRESS_OPTIONS)), st.text(max_size=4)),
        ),
        max_size=5,
    )
)
@settings(max_examples=80, deadline=None)
def test_what_is_told_is_printable(argv: list[str]) -> None:
    """No command line can move the cursor, colour the terminal or forge a line of the log."""
    assert describe(argv).isprintable()


@pytest.mark.parametrize("title", ["python:", "django:", "manage.py:"])
def test_the_words_of_a_title_are_no_arguments(title: str) -> None:
    """A process that renamed itself does not have its next word shown as a script."""
    assert "hunter2" not in describe([title, "hunter2", "runserver", "worker"])


def test_what_is_shown_has_an_end() -> None:
    """An endless command line stays one readable line."""
    assert len(describe(["server", *["-p", "12345"] * 5000])) < 500


@pytest.mark.parametrize(
    ("argv", "start"),
    [
        (["/usr/sbin/nginx", "-g", "x"], Start("nginx", "nginx", "")),
        (["nginx: worker process"], Start("nginx", "", "")),
        (["python3", "-um", "uvicorn", "a:b"], Start("python3", "uvicorn", "")),
        (["python3", "manage.py", "runmetrics"], Start("python3", "manage.py", "runmetrics")),
        (["python3", "-c", "manage.py", "runmetrics"], Start("python3", "", "")),
        (["manage.py:", "runmetrics"], Start("manage.py", "", "")),
        ([], Start("", "", "")),
    ],
)
def test_what_is_started_is_read_from_the_arguments(argv: list[str], start: Start) -> None:
    """A program is taken for what it is started as, not for words among its arguments."""
    assert read_start(argv) == start


@given(st.text(st.characters()))
@example("a\udcff\x1b[2J\u2028b")
@settings(max_examples=80, deadline=None)
def test_an_escaped_text_is_printable(text: str) -> None:
    """A user name or a folder cannot move the cursor, and plain text stays as it is."""
    assert escape(text).isprintable()
    if text.isprintable():
        assert escape(text) == text
