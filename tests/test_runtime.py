"""The process's cores, threads and device."""

from __future__ import annotations

import os

import pytest
import torch

from vlmrl import runtime
from vlmrl.errors import UsageError


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({}, None),
    ],
)
def test_cores_respects_the_containers_quota(tmp_path, files, expected):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    free = runtime.cores(tmp_path / "absent")
    assert free >= 1
    assert runtime.cores(tmp_path) == (expected or free)


def test_limit_threads_sets_torch_and_the_environment(monkeypatch):
    for variable in runtime.THREAD_VARIABLES:
        monkeypatch.setenv(variable, "7")
    before = torch.get_num_threads()
    try:
        assert runtime.limit_threads(1) == 1
        assert torch.get_num_threads() == 1
        assert {os.environ[variable] for variable in runtime.THREAD_VARIABLES} == {"1"}
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert runtime.limit_threads() == 1  # the user's own, smaller wish
        monkeypatch.setenv("OMP_NUM_THREADS", "4096")
        assert runtime.limit_threads() == runtime.cores()
    finally:
        torch.set_num_threads(before)


def test_limit_threads_refuses_none_at_all():
    with pytest.raises(UsageError, match="threads: got 0; expected an integer of at least 1"):
        runtime.limit_threads(0)


def test_resolve_device_takes_names_and_devices():
    assert runtime.resolve_device("cpu") == torch.device("cpu")
    assert runtime.resolve_device(torch.device("cpu")) == torch.device("cpu")
    assert runtime.resolve_device(None).type in ("cpu", "cuda")


@pytest.mark.parametrize("device", ["gpu", "mps", "cuda:4096", "cuda:-1", "", 3.5])
def test_resolve_device_names_what_is_usable(device):
    with pytest.raises(UsageError, match=r"device: got .*here is usable: cpu") as caught:
        runtime.resolve_device(device)
    assert "\n" not in str(caught.value)


def test_resolve_device_says_that_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert runtime.resolve_device(None) == torch.device("cpu")
    with pytest.raises(UsageError, match=r"device: got cuda; expected a GPU that torch sees"):
        runtime.resolve_device("cuda")


def test_guard_import_order_can_be_called_twice():
    runtime.guard_import_order()
    runtime.guard_import_order()
