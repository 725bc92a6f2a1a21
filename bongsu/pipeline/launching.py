"""Starting the processes of data-parallel pre-training: by torch's launcher on this machine, or by Ray Train on a cluster."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bongsu import progress
from bongsu.cluster import SMALL, connected
from bongsu.errors import RecipeError, TrainingError
from bongsu.parallel import cores
from bongsu.pipeline.running import run
from bongsu.pretraining.masked_lm import total_steps
from bongsu.recipe import Recipe
from bongsu.tokens.batches import training_shape
from bongsu.tokens.shards import open_shards
from bongsu.training.devices import resolve_device
from bongsu.training.log import read_log

RESUME = "The same command resumes from the last checkpoint."


def check_workers(recipe: Recipe, workers: int) -> None:
    """Check that this machine has a device for each process.

    Raises:
        RecipeError: when it has not.
    """
    device = resolve_device(recipe.pretrain.device if recipe.pretrain else "cpu")
    if device.type == "cuda" and workers > (there := torch.cuda.device_count()):
        raise RecipeError(f"--workers {workers}: GPUs on this machine: {there}; give at most that, or --ray for a cluster.")
    if device.type == "mps" and workers > 1:
        raise RecipeError("--workers: an MPS device cannot be shared; use --set pretrain.device=cpu, or one worker.")


def launch(arguments: Sequence[str], workers: int) -> None:
    """Run `bongsu ARGUMENTS` in `workers` processes of this machine.

    Only the first prints; the output of the others is shown if they fail.

    Raises:
        TrainingError: when a process fails; the others are ended.
        KeyboardInterrupt: after Ctrl-C or SIGTERM, once all have ended, with a checkpoint.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException, Std
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // workers)))
    with tempfile.TemporaryDirectory(prefix="bongsu-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=workers,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            run_id="bongsu",
            max_restarts=0,
            monitor_interval=0.2,
            logs_specs=DefaultLogsSpecs(log_dir=folder, redirects=dict.fromkeys(range(1, workers), Std.ALL)),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "bongsu.cli", *arguments)
        except SignalException:
            raise KeyboardInterrupt from None
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            raise TrainingError(f"{_failures(codes, Path(folder), workers)} {RESUME}") from None
        finally:
            if before is None:
                os.environ.pop("OMP_NUM_THREADS")  # later work in this process has all cores again


def _failures(codes: dict[int, int], folder: Path, workers: int) -> str:
    """Return which processes failed, each with its last line of output."""
    lines = []
    for rank, code in sorted(codes.items()):
        output = [line for log in folder.rglob(f"{rank}/stderr.log") for line in log.read_text(errors="replace").splitlines()]
        how = f"was ended by signal {-code}" if code < 0 else f"ended with status {code}"
        lines.append(f"Process {rank} of {workers} {how}" + (f": {output[-1].strip()}" if output else "."))
    return "\n".join(lines)


def launch_on_ray(recipe: Recipe, out: Path, workers: int, address: str) -> None:
    """Pre-train in `workers` processes of a Ray cluster, by Ray Train; earlier stages must be done.

    Args:
        out: the run's folder, which all machines see under this path, as they do the current folder.
        address: of the cluster, "auto" for the one this machine is part of, or "local" to begin one here.

    Raises:
        TrainingError: when a worker fails.
    """
    with connected(address, **SMALL):
        import ray
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        assert recipe.pretrain is not None
        use_gpu = recipe.pretrain.device != "cpu" and ray.cluster_resources().get("GPU", 0) >= workers
        trainer = TorchTrainer(
            _work,
            train_loop_config={"recipe": recipe.model_dump(mode="json"), "out": str(out.resolve()), "folder": os.getcwd()},
            scaling_config=ScalingConfig(num_workers=workers, use_gpu=use_gpu),
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if use_gpu else "gloo"),
            run_config=RunConfig(name="train", storage_path=str(out.resolve() / "ray")),
        )
        try:
            with _watched(recipe, out):
                trainer.fit()
        except Exception as error:  # Ray's, about what went wrong in a worker
            words = {
                str(failure).strip().splitlines()[-1] for failure in getattr(error, "worker_failures", {0: error}).values()
            }
            raise TrainingError("\n".join([*sorted(words), RESUME])) from error
        finally:
            shutil.rmtree(out / "ray", ignore_errors=True)


def _work(config: dict[str, Any]) -> None:
    """Pre-train in one worker."""
    os.chdir(config["folder"])
    run(Recipe.model_validate(config["recipe"]), Path(config["out"]), "pretrain")


@contextmanager
def _watched(recipe: Recipe, out: Path) -> Iterator[None]:
    """Show a progress bar that follows the workers' log."""
    assert recipe.pretrain is not None
    shards = open_shards(out / "tokens", "train", verify=False)
    steps = total_steps(recipe, shards.sentences, training_shape(shards, recipe.pretrain))
    over = threading.Event()

    def follow(bar: progress.Bar) -> None:
        shown = 0.0
        while not over.wait(1.0):
            trained = [line for line in read_log(out / "pretrain" / "checkpoints" / "metrics.jsonl") if "loss" in line]
            if trained and trained[-1]["step"] != shown:
                bar.advance(trained[-1]["step"] - shown, f"loss {trained[-1]['loss']:.3f}")
                shown = trained[-1]["step"]

    with progress.bar("pretrain", steps, "steps") as bar:
        watcher = threading.Thread(target=follow, args=(bar,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
