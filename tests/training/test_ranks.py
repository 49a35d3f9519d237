"""Who trains alone is the first and only process, whatever a job step's variables say; launchers' ranks are theirs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from lightning.pytorch.utilities import rank_zero_only
from small import small_experiment, write_ave

from snn_cace.errors import InputError
from snn_cace.training.checkpoints import RunFiles
from snn_cace.training.ranks import is_first, join
from snn_cace.training.run import train

SLURM = {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "work", "SLURM_NTASKS": "4", "SLURM_NNODES": "2"}
STEP = {"SLURM_PROCID": "3", "SLURM_LOCALID": "1", "SLURM_NODEID": "1", "SLURM_NTASKS_PER_NODE": "2"}
ELSEWHERE = {
    "RANK": "1",
    "LOCAL_RANK": "1",
    "NODE_RANK": "1",
    "GROUP_RANK": "1",
    "GLOBAL_RANK": "1",
    "WORLD_SIZE": "4",
    "PMI_RANK": "1",
    "OMPI_COMM_WORLD_RANK": "1",
    "JSM_NAMESPACE_RANK": "1",
    "JSM_NAMESPACE_LOCAL_RANK": "1",
    "JSM_NAMESPACE_SIZE": "2",
    "LSB_JOBID": "1",
    "LSB_DJOB_RANKFILE": "nowhere",
}
"""Variables that Lightning's environments and its `rank_zero_only` look at, as another program's launcher sets them."""


@pytest.fixture
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Lightning's rank as it would be had it been imported with a rank of 3 around; what a test sets goes with it."""
    monkeypatch.setattr(rank_zero_only, "rank", 3)
    for name in (*SLURM, *STEP, *ELSEWHERE, "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.parametrize("around", [SLURM, SLURM | STEP, ELSEWHERE], ids=["allocation", "job step", "other launchers"])
def test_who_trains_alone_keeps_a_finished_run_and_writes_all_of_a_new_one(
    tmp_path: Path, variables: pytest.MonkeyPatch, around: dict[str, str]
):
    experiment = small_experiment(write_ave(tmp_path / "ave"), epochs=1)
    plain = train(experiment, tmp_path / "plain", quiet=True)
    variables.setattr(rank_zero_only, "rank", 3)
    for name, value in around.items():
        variables.setenv(name, value)
    files = RunFiles(tmp_path / "plain")
    before = files.best.read_bytes()
    with pytest.raises(InputError, match="is not empty"):
        train(experiment, files.directory, quiet=True)
    assert files.best.read_bytes() == before
    again = train(experiment, tmp_path / "again", quiet=True)
    assert again["test"] == plain["test"]
    names = {path.name for path in files.directory.iterdir()}
    assert {path.name for path in (tmp_path / "again").iterdir()} == names > {"config.yaml", "tensorboard"}
    assert json.loads(RunFiles(tmp_path / "again").history.read_text()) == json.loads(files.history.read_text())


@pytest.mark.parametrize(
    ("around", "first"),
    [
        ({"SLURM_PROCID": "3", "RANK": "3"}, True),
        ({"LOCAL_RANK": "0", "NODE_RANK": "0"}, True),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0", "SLURM_PROCID": "0"}, False),
        ({"TORCHELASTIC_RUN_ID": "here", "RANK": "1", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}, False),
        ({"TORCHELASTIC_RUN_ID": "here", "RANK": "0", "WORLD_SIZE": "2"} | SLURM | STEP, True),
        (SLURM | STEP, False),
    ],
    ids=["nothing", "its first", "its second", "torchrun's second", "torchrun's first", "SLURM's fourth"],
)
def test_of_several_the_rank_is_that_of_what_started_them(
    variables: pytest.MonkeyPatch, around: dict[str, str], first: bool
):
    for name, value in around.items():
        variables.setenv(name, value)
    join(devices=2)
    assert is_first() == first


@pytest.mark.parametrize("around", [SLURM, SLURM | {"SLURM_NTASKS_PER_NODE": "2"}])
def test_an_allocation_that_started_no_processes_is_named_where_several_are_needed(
    variables: pytest.MonkeyPatch, around: dict[str, str]
):
    for name, value in around.items():
        variables.setenv(name, value)
    with pytest.raises(InputError, match=r"2 devices on 1 nodes need one process each, SLURM has others: .*one device"):
        join(devices=2)
