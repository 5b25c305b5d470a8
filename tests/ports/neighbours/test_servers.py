"""Command lines say what they listen on: compared with the servers themselves where they are."""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.finding import Place
from metrics_commands.ports.neighbours.neighbour import Survey
from metrics_commands.ports.neighbours.servers import read_command
from tests.processes import clean_environment, run

PLACE = Place("Procfile", 3)
Addresses = list[tuple[str, int]]


def read(command: str | list[str], folder: Path = Path("/nowhere"), **environment: str) -> Survey:
    """Read a command line as the process 'web' of a Procfile."""
    return read_command(command, environment, PLACE, "web", folder=folder)


def addresses(survey: Survey) -> Addresses:
    """Return where the neighbours of a survey listen."""
    return [(each.host, each.port) for each in survey.neighbours]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("gunicorn shop.wsgi --bind 0.0.0.0:${PORT:-8000}", [("0.0.0.0", 8000)]),
        ("gunicorn shop.wsgi", [("127.0.0.1", 8000)]),
        ("PORT=9 gunicorn shop.wsgi", [("0.0.0.0", 9)]),
        ("gunicorn -b tcp://a.example:1 -b '[::1]:2' -b :3 x", [
            ("a.example", 1), ("::1", 2), ("0.0.0.0", 3),
        ]),
        ("gunicorn -b unix:/run/web.sock x", []),
        ("gunicorn -b fd://3 x", []),
        ("gunicorn -b 0.0.0.0:$(cat port) x", []),
        ("gunicorn -b 0.0.0.0:99999 x", []),
        ("gunicorn -b 0.0.0.0:0 x", []),
        ("gunicorn --check-config x", []),
        ("uvicorn shop.asgi:application", [("127.0.0.1", 8000)]),
        ("uvicorn --host 0.0.0.0 --port=$P x", []),
        ("UVICORN_PORT=1 uvicorn --host :: x", [("::", 1)]),
        ("uvicorn --uds /run/web.sock x", []),
        ("uvicorn --fd 3 --port 1 x", []),
        ("daphne shop.asgi", [("127.0.0.1", 8000)]),
        ("daphne -b 0.0.0.0 -p 8001 shop.asgi", [("0.0.0.0", 8001)]),
        ("daphne -u /run/web.sock shop.asgi", []),
        ("daphne -u /run/web.sock -p 1 shop.asgi", [("127.0.0.1", 1)]),
        (r"daphne -e ssl:443:interface='\:\:1':privateKey=k -e tcp:port=80 x", [
            ("::1", 443), ("0.0.0.0", 80),
        ]),
        ("hypercorn shop.asgi", [("127.0.0.1", 8000)]),
        ("hypercorn -b '[::]:1' --quic-bind :2 --insecure-bind :3 x", [("::", 1)]),
        ("hypercorn -b :1 --insecure-bind :3 --certfile c x", [("0.0.0.0", 1), ("0.0.0.0", 3)]),
        ("hypercorn -c hypercorn.toml x", []),
        ("granian --interface wsgi --port 1 x", [("127.0.0.1", 1)]),
        ("GRANIAN_HOST=0.0.0.0 GRANIAN_PORT=2 granian x", [("0.0.0.0", 2)]),
        ("waitress-serve shop.wsgi:application", [("0.0.0.0", 8080)]),
        ("waitress-serve --listen='*:1 [::1]:2' --listen=localhost:3 x", [
            ("*", 1), ("::1", 2), ("localhost", 3),
        ]),
        ("waitress-serve --port=1 --host=127.0.0.1 x", [("127.0.0.1", 1)]),
        ("waitress-serve --unix-socket=/run/web.sock x", []),
        ("uwsgi --http :1 --socket 127.0.0.1:2 -s /run/web.sock --https 0.0.0.0:4,c,k", [
            ("127.0.0.1", 2), ("0.0.0.0", 1), ("0.0.0.0", 4),
        ]),
        ("uwsgi --ini uwsgi.ini", []),
        ("python manage.py runserver", [("127.0.0.1", 8000)]),
        ("./manage.py runserver 8001", [("127.0.0.1", 8001)]),
        ("django-admin runserver --settings shop.settings 0:8001", [("0.0.0.0", 8001)]),
        ("python -m django runserver -6", [("::1", 8000)]),
        ("python manage.py runserver --noreload '[::]:8001'", [("::", 8001)]),
        ("python manage.py runserver_plus --cert-file c 0.0.0.0:8001", [("0.0.0.0", 8001)]),
        ("python manage.py testserver --addrport 7000 fixture.json", [("127.0.0.1", 7000)]),
        ("python manage.py runserver nonsense:x", []),
        ("./server --listen $PORT", []),
        ("./server --listen ${PORT:-9000}", [("0.0.0.0", 9000)]),
        ("PORT=1; ./server --listen $PORT", [("0.0.0.0", 1)]),
        ("./server --listen '$PORT'", []),
        ("pip install gunicorn uvicorn", []),
        ("echo gunicorn -b :1", []),
        ("celery -A shop worker", []),
    ],
)  # fmt: skip
def test_each_server_is_read_as_it_reads_itself(line: str, expected: Addresses) -> None:
    """The address and port of every server that people start Django with is known beforehand."""
    assert sorted(addresses(read(line))) == sorted(expected)


@pytest.mark.parametrize(
    "line",
    [
        "exec {}",
        "env -u X A=1 {}",
        "nice -n 5 {}",
        "python -m {}",
        "/opt/venv/bin/python3.12 -u /opt/venv/bin/{}",
        "poetry run {}",
        "uv run --with x {}",
        "uv run python -m {}",
        "uv run -m {}",
        "pipenv run {}",
        "newrelic-admin run-program {}",
        "ddtrace-run {}",
        "opentelemetry-instrument --traces_exporter console {}",
        "dumb-init -- {}",
        "tini -s -- {}",
        "gosu www {}",
        "su-exec www:www {}",
        "honcho run -e .env {}",
        "timeout -k 5 60 {}",
        "sh -c '{}'",
        'bash -euo pipefail -lc "exec {}"',
        "sh -c \"bash -c '{}'\"",
        "sudo -u www -- env A=1 nohup {}",
        "python manage.py migrate --noinput && {}",
        "redis-server & {}",
        "if [ -f x ]; then {}; fi",
    ],
)
def test_a_server_is_found_behind_what_starts_it(line: str) -> None:
    """Wrappers, interpreters and shells do not hide a server."""
    (found,) = read(line.format("gunicorn -b :7001 x")).neighbours
    assert (found.what, found.port, found.place) == ("gunicorn of 'web'", 7001, PLACE)


def test_an_argv_is_taken_as_it_is() -> None:
    """The words of a list are not expanded again, only those of a shell that it starts."""
    assert addresses(read(["gunicorn", "-b", ":$PORT"], PORT="1")) == []
    assert addresses(read(["sh", "-c", "gunicorn -b :$PORT"], PORT="1")) == [("0.0.0.0", 1)]


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("python manage.py runmetrics", {}),
        ("manage.py runmetrics --port 1 --metrics-dir=/m", {"port": "1", "metrics_dir": "/m"}),
        ("manage.py runmetrics --port-range=1-2 --adv h", {"port_range": "1-2", "advertise": "h"}),
        ("manage.py runmetrics --address ::1 --address=10.0.0.1", {"address": ["::1", "10.0.0.1"]}),
        ("manage.py runmetrics --settings shop.settings --port $PORT", {"port": "5"}),
    ],
)  # fmt: skip
def test_an_exporter_is_told_from_a_server(line: str, options: dict[str, object]) -> None:
    """A line that starts the exporter says its options and all that it would see."""
    survey = read(f"A=1 {line}", PORT="5")
    (exporter,) = survey.exporters
    assert (exporter.options, exporter.place) == (options, PLACE)
    assert exporter.environment == {"PORT": "5", "A": "1"}
    assert survey.neighbours == []


def test_one_scrape_is_no_exporter() -> None:
    """A command that opens no port takes none."""
    assert read("python manage.py runmetrics --once --port $PORT", PORT="1") == Survey()


CONF = "bind = ['127.0.0.1:7101', '[::1]:7102']\n"
GUNICORN = [
    ([], "", {}),
    ([], "", {"PORT": "7001"}),
    ([], "", {"PORT": "x"}),
    (["-b", "LOCALHOST"], "", {"PORT": "7001"}),
    (["-b0.0.0.0:7001", "--bind=:7002", "--bi", "[::1]:7003"], "", {}),
    (["--b", ":7001"], "", {}),
    (["-Db:7001"], "", {}),
    (["-b"], "", {}),
    (["-b", "unix:/tmp/a.sock", "-b", "tcp://0:7001"], "", {}),
    (["-b", "[::]"], "", {}),
    (["-b", ""], "", {}),
    (["-b", ":nonsense"], "", {}),
    (["-w", "4", "-k", "gthread", "-n", "b", "--timeout", "5", "-b", ":7001"], "", {}),
    ([], "--bind 127.0.0.1:7004 --workers 3", {}),
    (["-b", ":7001"], "-b :7004", {}),
    ([], "-b 'unclosed", {}),
    (["-c", "other.py"], "", {}),
    (["--config=other.py", "-b", ":7001"], "", {}),
    (["--conf", "file:other.py"], "-b :7004", {}),
    ([], "-c other.py", {"PORT": "7001"}),
    (["--con", "other.py"], "", {}),
    (["-c", "one.py"], "", {}),
    (["-c", "silent.py"], "", {"PORT": "7001"}),
    (["--chdir", "below"], "", {}),
]
FILES = {"other.py": CONF, "one.py": "bind = '[::1]:7201'\n", "silent.py": "workers = 2\n"}
ASK_GUNICORN = """
import json, os, sys
from gunicorn.app.wsgiapp import WSGIApplication
answers = []
folder = os.getcwd()
for arguments, inherited in json.load(open("cases.json")):
    os.chdir(folder)
    os.environ["GUNICORN_CMD_ARGS"] = inherited
    sys.argv = ["gunicorn", "shop.wsgi", *arguments]
    try:
        found = WSGIApplication().cfg.address
        answers.append([each for each in found if not isinstance(each, str)])
    except (SystemExit, RuntimeError, ValueError):
        answers.append([])
print(json.dumps(answers))
"""


@pytest.mark.parametrize("default", [None, "bind = '127.0.0.1:7301'\n"])
def test_gunicorn_itself_agrees(tmp_path: Path, default: str | None) -> None:
    """Arguments, GUNICORN_CMD_ARGS, files and defaults come in gunicorn's own order."""
    files = FILES | ({"gunicorn.conf.py": default} if default else {})
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "gunicorn.conf.py").write_text("bind = ':7401'\n")
    groups = defaultdict(list)
    for arguments, inherited, extra in GUNICORN:
        groups[json.dumps(extra)].append((arguments, inherited))
    for variables, cases in groups.items():
        (tmp_path / "cases.json").write_text(json.dumps(cases))
        environment = clean_environment(tmp_path, **json.loads(variables))
        done = run([sys.executable, "-c", ASK_GUNICORN], environment, cwd=tmp_path)
        for case, answer in zip(cases, json.loads(done.stdout.splitlines()[-1]), strict=True):
            expected = [("0.0.0.0" if host in ("", "0") else host, port) for host, port in answer]
            arguments, inherited = case
            command = ["gunicorn", "shop.wsgi", *arguments]
            survey = read(command, tmp_path, GUNICORN_CMD_ARGS=inherited, **json.loads(variables))
            assert addresses(survey) == expected, case


@pytest.mark.parametrize(
    "line",
    [
        "x",
        "--host 0.0.0.0 x",
        "x --port=7001",
        "--host :: --port 7001 --reload x",
        "--log-level debug --host localhost x",
        "--port x x",
        "--port",
    ],
)
@pytest.mark.parametrize("extra", [{}, {"UVICORN_HOST": "0.0.0.0", "UVICORN_PORT": "7002"}])
def test_uvicorn_itself_agrees(
    line: str, extra: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options and variables count as uvicorn's own parser has them."""
    import click
    from uvicorn import main

    for name, value in extra.items():
        monkeypatch.setenv(name, value)
    try:
        with main.make_context("uvicorn", line.split(), auto_envvar_prefix="UVICORN") as context:
            expected = [(context.params["host"], context.params["port"])]
    except click.UsageError:
        expected = []
    assert addresses(read(f"uvicorn {line}", Path("/"), **extra)) == expected


def test_a_configuration_file_is_the_place_to_change(tmp_path: Path) -> None:
    """What gunicorn is told in its file is reported with that file and line."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "web.py").write_text("workers = 2\nbind = '0.0.0.0:7001'\n")
    (found,) = read("cd conf && gunicorn -c web.py x", tmp_path).neighbours
    assert (found.place, found.text) == (Place("conf/web.py", 2), "bind = '0.0.0.0:7001'")


def test_a_configuration_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """A missing or unclear file gives a finding instead of a wrong port."""
    (tmp_path / "web.py").write_text("bind = choose()\n")
    for name in ("web.py", "missing.py"):
        survey = read(f"gunicorn -c {name} x", tmp_path)
        (finding,) = survey.findings
        assert (finding.id, finding.severity) == ("metrics_commands.W019", "warning")
        assert name in finding.what
        assert survey.neighbours == []


WORDS = (
    "gunicorn", "uvicorn", "daphne", "hypercorn", "granian", "waitress-serve", "uwsgi", "python",
    "manage.py", "runserver", "runmetrics", "-m", "-c", "-b", "--bind", "--port", "--", "-", "sh",
    "env", "uv", "run", "A=1", "$PORT", ":1", "''", "-e", "ssl:=", "&&", "\0", "[", "--bind=[", "%",
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=8))
def test_any_command_can_be_read(words: list[str]) -> None:
    """Whatever a command says, it is read, as a line and as a list."""
    for command in (" ".join(words), words):
        for each in read(command, PORT="1").neighbours:
            assert 1 <= each.port <= 65535
            assert each.host


def test_a_shell_that_starts_itself_ends() -> None:
    """A variable that runs itself many times over is not followed for ever."""
    again = 'sh -c "$A"; ' * 40
    assert read(again, A=again.replace("$A", "\\$A"), PORT="1") == Survey()
    assert read(again, A=again) == Survey()


@pytest.mark.parametrize(
    "line", ["env " * 30_000, "-x " * 40_000, "gunicorn " + "-b :1 " * 20_000, "sh -c " * 20_000]
)
def test_a_hostile_command_is_cut_short(line: str) -> None:
    """A command of many thousand words is not followed to its end."""
    assert len(read(line).neighbours) <= 1
