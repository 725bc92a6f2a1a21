"""How many cores there are: by affinity, and by the quotas of control groups of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bongsu import parallel
from bongsu.parallel import cores, cpu_quota, whole, workers


def write(root: Path, files: dict[str, str]) -> tuple[Path, Path]:
    """Write control groups; return where the process's groups are listed, and where they are mounted."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root / "cgroup", root / "mount"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cgroup": "0::/\n", "mount/cpu.max": "100000 100000\n"}, 1.0),
        ({"cgroup": "0::/\n", "mount/cpu.max": "max 100000\n"}, None),
        ({"cgroup": "0::/a/b\n", "mount/a/b/cpu.max": "max 100000\n", "mount/a/cpu.max": "150000 100000\n"}, 1.5),
        ({"cgroup": "0::/a\n", "mount/a/cpu.max": "400000 100000\n", "mount/cpu.max": "200000 100000\n"}, 2.0),
        ({"cgroup": "0::/not/mounted/here\n", "mount/cpu.max": "50000 100000\n"}, 0.5),
        (
            {
                "cgroup": "5:memory:/d\n4:cpu,cpuacct:/d\n0::/\n",
                "mount/cpu,cpuacct/d/cpu.cfs_quota_us": "250000\n",
                "mount/cpu,cpuacct/d/cpu.cfs_period_us": "100000\n",
            },
            2.5,
        ),
        (
            {
                "cgroup": "4:cpu:/d\n",
                "mount/cpu/cpu.cfs_quota_us": "300000\n",
                "mount/cpu/cpu.cfs_period_us": "100000\n",
                "mount/cpu/d/cpu.cfs_quota_us": "-1\n",
                "mount/cpu/d/cpu.cfs_period_us": "100000\n",
            },
            3.0,
        ),
        ({"cgroup": "4:memory:/d\n", "mount/cpu.max": "rubbish"}, None),
        ({"cgroup": "0::/\n", "mount/cpu.max": "rubbish"}, None),
        ({}, None),
    ],
)
def test_quotas_of_control_groups(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    assert cpu_quota(*write(tmp_path, files)) == quota


@pytest.mark.parametrize(("quota", "expected"), [(None, 64), (1.0, 1), (0.2, 1), (1.5, 2), (100.0, 64)])
def test_a_quota_bounds_the_cores(monkeypatch: pytest.MonkeyPatch, quota: float | None, expected: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(parallel, "cpu_quota", lambda: quota)
    assert cores() == expected


def test_each_of_several_processes_has_one_thread_for_the_tokenizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "cores", lambda: 2)
    with workers() as pool:
        assert set(pool.run(range(8), whole, _threads)) == {("1", "false")}


def _threads(_: int) -> tuple[str | None, str | None]:
    return os.environ.get("RAYON_NUM_THREADS"), os.environ.get("TOKENIZERS_PARALLELISM")
