"""The systemd unit and the container of a process, from the names of its control groups."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metrics_commands.ports.cgroup import Group, find_group, parse_group, read_group
from metrics_commands.ports.owner import Owner, describe_process
from tests.processes import wait_until

from .sockets import needs_root, server

ID = "0123456789ab" + "cdef" * 13
SHORT = ID[:12]
POD = "pod2a1f3c0e_7b1d_4c55_9e1a_000000000000"
SLICE = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-{POD}.slice"
NAMES = re.compile(r"[\w:.@\\-]*", re.ASCII)


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/", Group()),
        ("/system.slice/nginx.service", Group("nginx.service")),
        ("/system.slice/system-postgresql.slice/postgresql@15-main.service",
         Group("postgresql@15-main.service")),
        (r"/system.slice/my\x2dsite.service/worker", Group(r"my\x2dsite.service")),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/shop.service",
         Group("shop.service")),
        ("/user.slice/user-1000.slice/session-3.scope", Group()),
        ("/init.scope", Group()),
        ("/system.slice/nginx.service (deleted)", Group()),
        (f"/system.slice/docker-{ID}.scope", Group("", SHORT)),
        (f"/docker/{ID}", Group("", SHORT)),
        (f"/docker/{ID}/system.slice/nginx.service", Group("nginx.service", SHORT)),
        (f"/docker/{'f' * 64}/docker/{ID}", Group("", SHORT)),
        (f"/../docker-{ID}.scope", Group("", SHORT)),
        (f"/machine.slice/libpod-{ID}.scope/container", Group("", SHORT)),
        (f"/libpod_parent/libpod-{ID}.scope", Group("", SHORT)),
        (f"/machine.slice/libpod-conmon-{ID}.scope", Group()),
        (f"{SLICE}/cri-containerd-{ID}.scope", Group("", SHORT)),
        (f"{SLICE}/crio-{ID}.scope", Group("", SHORT)),
        (f"/kubepods/burstable/{POD}/{ID}", Group("", SHORT)),
        (f"/system.slice/containerd.service/kubepods-x.slice:cri-containerd:{ID}",
         Group("", SHORT)),
        ("/lxc/web/system.slice/nginx.service", Group("nginx.service", "web")),
        ("/lxc.payload.web-1/init.scope", Group("", "web-1")),
        ("/lxc.monitor.web-1", Group()),
        (f"/builds/{ID}", Group()),
        (f"/docker/{ID[:32]}", Group()),
    ],
)  # fmt: skip
def test_a_path_tells_unit_and_container(path: str, group: Group) -> None:
    """Each runtime's way to name a container is read, and sessions are no units."""
    assert parse_group(f"0::{path}\n") == group
    assert parse_group(f"4:memory:/\n1:name=systemd:{path}\n0::/\n") == group


def test_controllers_of_version_1_tell_the_container_alone() -> None:
    """Where systemd knows nothing of a container, another hierarchy does."""
    text = f"3:cpu,cpuacct:/docker/{ID}\n2:memory:/x/old.service\n1:name=systemd:/\n"
    assert parse_group(text) == Group("", SHORT)


PARTS = st.one_of(
    st.text(st.characters(), max_size=6),
    st.sampled_from(
        [
            "docker", "lxc", "kubepods", ID, f"docker-{ID}.scope", "a b.service", "\x1b.service",
            "é.service", "nginx.service", "\n0::", "lxc.payload.\x07", ":", "..", "²:",
        ]
    ),
)  # fmt: skip


@given(st.lists(PARTS, max_size=6).map("/".join), st.sampled_from(["0::/", "1:name=systemd:/", ""]))
@settings(max_examples=150, deadline=None)
def test_no_control_group_shows_more_than_a_plain_name(path: str, before: str) -> None:
    """A group can be named anything by whoever makes it: only what units may contain is shown."""
    group = parse_group(before + path)
    assert NAMES.fullmatch(group.unit)
    assert NAMES.fullmatch(group.container)


def test_a_process_that_has_gone_has_no_group() -> None:
    """Where nothing can be read, nothing is told."""
    assert read_group(2**30) == Group()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="control groups are Linux's")
def test_our_own_container_is_not_told() -> None:
    """A container that we are in too would tell nothing."""
    assert find_group(os.getpid()).container == ""


def find_hierarchy() -> Path:
    """Return where the kernel's second version of control groups is mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    pytest.skip("no control groups of version 2 here")


@contextmanager
def control_group(name: str) -> Iterator[Path]:
    """Make a real control group, and remove it when its last process has gone."""
    folder = find_hierarchy() / f"test-{os.getpid()}" / name
    try:
        folder.mkdir(parents=True)
    except OSError:
        pytest.skip("control groups cannot be made here")
    try:
        yield folder
    finally:
        wait_until(lambda: not (folder / "cgroup.procs").read_text())
        folder.rmdir()
        folder.parent.rmdir()


@needs_root
@pytest.mark.parametrize(
    ("name", "group", "said"),
    [
        ("shop-of-the-test.service", Group("shop-of-the-test.service"), ", unit shop-of-the-test"),
        (f"docker-{ID}.scope", Group("", SHORT), f", container {SHORT}"),
    ],
)
def test_a_real_control_group_is_read(tmp_path: Path, name: str, group: Group, said: str) -> None:
    """An owner that systemd or a container runtime started is told with unit or container."""
    with control_group(name) as folder, server(tmp_path) as (process, _):
        (folder / "cgroup.procs").write_text(str(process.pid))
        owner = describe_process(process.pid)
        assert isinstance(owner, Owner)
        assert Group(owner.unit, owner.container) == group
        assert said in str(owner)
