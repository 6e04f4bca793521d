"""The ten functions of ``import harness``; the commands are a thin layer over them.

Nothing slow is imported before a function begins, so that bad input is refused at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.data import datasets
from harness.interface import options
from harness.system import files
from harness.system.errors import TargetMissed, UsageError, require
from harness.system.files import Workspace, check_writable, write_together
from harness.system.machine import check_may_start, torch_of_caller
from harness.system.terminal import counted, say
from search_spaces.network import MNIST, Architecture, Task

if TYPE_CHECKING:
    from harness.data.datasets import Dataset
    from harness.data.training_images import ImageData
    from harness.deployment.pixels import OfPixels
    from harness.evidence.certificate import Certificate
    from harness.evidence.evaluate import Evaluation
    from harness.evidence.record import Record, SeedRun
    from harness.evidence.verify import Plan
    from harness.interface.lookup import NetworkArgument
    from harness.interface.results import Explanation, Exported, Study, Trained, Trial, Verified
    from harness.studies.events import Event
    from harness.training.executors.base import ExecutorOf
    from harness.training.modules import Network
    from harness.training.recipe import NamedRecipe
    from harness.training.result import Purpose, Result
    from harness.training.train import Training


_MOST_EPOCH_LINES = 50
_OWN_RECIPE = {"help": "Training recipe: a name, or @FILE.toml [default: the row's own, else fast]."}


# One network -----------------------------------------------------------------------------------------------------


@options.takes()
def explain(
    network: str | Architecture,
    *,
    budget: int | None = None,
    input_shape: Any = MNIST.input_shape,
    classes: int = MNIST.classes,
    torch: bool = False,
) -> Explanation:
    """Return what a network costs, op by op; it prints as a table.

    Args:
        network: notation, preset, hash or name of the leaderboard, or ``@FILE``.

    Raises:
        ContentError: no network is called so, or it has more parameters than the budget.
        SearchSpaceError: the notation is wrong, or the ops do not fit together.

    >>> print(explain("conv3x3(2) bn relu | gap | linear(10)"))
    op           output  parameters    MACs  receptive field
    conv3x3(2)  2x28x28          18  14,112                3
    bn          2x28x28           4       0                3
    relu        2x28x28           0       0                3
    gap           2x1x1           0       0               30
    linear(10)       10          30      20               30
    total                        52  14,132                3
    plain-52, hash 610d7e876c1e; 56 numbers with the statistics of BN
    """
    from harness.interface.results import Explanation
    from search_spaces.network import analyse

    task = Task(input_shape, classes)
    argument = _network(network, files.workspace(), task)
    architecture = argument.architecture
    if task == MNIST and argument.rows and argument.rows[0].dataset:
        # A network that is known by its hash or name is of its own data set.
        task = datasets.known_task(argument.rows[0].dataset)
    analysis = analyse(architecture, task, budget)
    if not torch:
        return Explanation(architecture, analysis)
    from harness.training.crosscheck import cross_check

    return Explanation(architecture, analysis, cross_check(architecture, analysis))


def _network(network: str | Architecture, workspace: Workspace, task: Task) -> NetworkArgument:
    from harness.interface.lookup import NetworkArgument, read_network

    if isinstance(network, str):
        return read_network(network, workspace, task)
    if not isinstance(network, Architecture):
        allowed = "allowed are its notation, a preset, a hash or a name"
        raise UsageError(f"network: a value of type {type(network).__name__} is no network; {allowed}")
    return NetworkArgument(network)


@options.takes()
def train(
    network: str | Architecture,
    dataset: str = "auto",
    *,
    recipe: str = "fast",
    epochs: int | None = None,
    seed: int = 0,
    budget: int | None = None,
    device: str = "auto",
    engine: str = "auto",
    data: str | Path | None = None,
    out: str | Path | None = None,
) -> Trained:
    """Train a network once on the search split, in this process; the test set is not read.

    Args:
        network: as ``explain`` takes it.

    Raises:
        UsageError: an unknown recipe, data set or engine.
        ContentError: the network has more parameters than the budget, or the recipe does not suit it or the data.
        DataError: the images are missing or damaged.
        DeviceError: there is no such device.

    >>> trained = train("conv3x3(4) bn relu | maxpool(4) | gap | linear(10)", "mnist-5k", epochs=1)
    >>> trained.result.parameters, trained.accuracy_pct > 10
    (94, True)
    """
    from harness.training.recipe import check_statistics, named_recipe
    from search_spaces.network import analyse

    task = datasets.task_of(dataset)
    architecture = _network(network, files.workspace(), task).architecture
    analyse(architecture, task, budget)
    named = named_recipe(recipe, epochs=epochs)
    check_statistics(named.recipe, architecture, task)

    from harness.data.training_images import load
    from harness.deployment.pixels import OfPixels
    from harness.interface.results import Trained
    from harness.training.result import Purpose
    from harness.training.train import final_network

    images = load(dataset, Path(data) if data else None)
    more = {"seed_index": seed, "weights": None if out is None else Path(out)}
    result, run = _trained(architecture, named, Purpose.TRAIN, images, device=device, engine=engine, **more)
    return Trained(result, OfPixels(final_network(run), images.dataset))


def _trained(
    architecture: Architecture,
    named: NamedRecipe,
    purpose: Purpose,
    images: ImageData,
    *,
    device: str,
    engine: str,
    **more: Any,
) -> tuple[Result, Training]:
    """Train in this process and show how it goes on; a training on the search split is validated each epoch."""
    import torch

    from harness.system.machine import choose_device
    from harness.training.native.engine import choose_engine
    from harness.training.progress import Reporter
    from harness.training.result import Epoch, Purpose, accuracy_pct
    from harness.training.run import Job, TrainingData, train_job

    chosen, teachers = choose_device(device), files.workspace().teachers
    choice = choose_engine(engine, named.recipe, chosen, architecture.op_types)
    options.say_training(choice, named.recipe, images.dataset.task, teachers)
    validated, epochs = purpose is Purpose.TRAIN, named.recipe.epochs
    job = Job(
        architecture=architecture,
        recipe=named.recipe,
        recipe_name=named.name,
        purpose=purpose,
        device=str(chosen),
        engine=choice.kind,
        teachers=teachers,
        evaluate_each_epoch=validated,
        **more,
    )
    with torch_of_caller(), Reporter(epochs, "epochs") as reporter:
        # As in a search and in a verification: the number of threads has a part in the bits.
        torch.set_num_threads(1)

        # People read some lines, not thousands.
        step = -(-epochs // _MOST_EPOCH_LINES)

        def on_epoch(epoch: Epoch) -> None:
            if validated and (epoch.epoch % step == 0 or epoch.epoch == epochs):
                loss = "not finite" if epoch.train_loss is None else f"{epoch.train_loss:.4f}"
                accuracy = accuracy_pct(epoch.validation_errors, images.dataset.validation_size)
                figures = f"loss {loss}, validation {accuracy:.2f} %, {epoch.train_seconds:.1f} s"
                reporter.say(f"epoch {epoch.epoch}/{epochs}: {figures}")
            reporter.advance()

        return train_job(job, TrainingData(images), on_epoch)


# Weights for other programs --------------------------------------------------------------------------------------

_CHECKED_IMAGES = 1_000


@options.takes(recipe=_OWN_RECIPE)
def export(
    network: str | Architecture,
    onnx: str | Path | None = None,
    safetensors: str | Path | None = None,
    *,
    seed: int = 0,
    recipe: str | None = None,
    epochs: int | None = None,
    dataset: str = "auto",
    device: str = "auto",
    engine: str = "auto",
    data: str | Path | None = None,
    retrain: bool = False,
) -> Exported:
    """Write a trained network as ONNX or safetensors: the kept weights of a recorded seed, or a network of no record.

    The ONNX model takes the raw numbers of the data set, (batch, channels, rows, columns), bytes as uint8 and others as
    float64; it is compared with torch before it is written. Both files name the classes in their order, and say how
    numbers become what the network takes. A network without a record is trained on all training images.

    Args:
        network: as ``explain`` takes it.

    Raises:
        UsageError: no file is named, a file cannot be written, or the weights of the seed are not kept.
        ContentError: several rows fit, or the recipe does not suit the data.
        DeviceError: packages are missing, or there is no such device.
        TargetMissed: the training diverged; nothing was written.

    >>> made = export("conv3x3(4) | gap | linear(10)", safetensors="net.st", dataset="mnist-5k", recipe="smoke")
    >>> made.facts["files"][0]["format"]
    'safetensors'
    """
    targets = _export_targets(onnx, safetensors)
    from harness.evidence import record
    from harness.interface.lookup import only_row, recipe_of, row_of

    workspace = files.workspace()
    records = record.read_all(workspace.records)
    argument = _network(network, workspace, datasets.task_of(dataset))
    architecture = argument.architecture
    # The row that is meant, however the network was named; the target that it was made for has no part in weights.
    rows = argument.rows or tuple(row_of(each) for each in records if each.hash == architecture.hash)
    argument = replace(argument, rows=tuple(replace(row, target_pct=None) for row in rows))
    dataset_named = None if dataset == "auto" else dataset
    row = only_row(argument, dataset=dataset_named, target_pct=None, recipe_given=recipe is not None)
    named = recipe_of(row, recipe, epochs)
    if onnx is not None:
        from harness.deployment.onnx import ONNX_LIBRARIES

        require("export", ONNX_LIBRARIES, "--onnx")

    from harness.data.training_images import load
    from harness.training.recipe import check_batch, check_statistics

    # Of several records, for several targets, one that has this seed.
    on = (row and row.dataset) or dataset_named
    key = architecture.hash, named.recipe.hash
    fitting = [each for each in records if (each.hash, each.recipe_hash) == key and on in (None, each.dataset)]
    evidence = max(fitting, key=lambda each: (each.seed(seed) is not None, len(each.seeds)), default=None)
    recorded = None if evidence is None else evidence.seed(seed)
    if evidence is not None and not retrain:
        kept_seeds = record.kept_indices(workspace.records, evidence)
        if seed not in kept_seeds:
            held = f"kept are those of {', '.join(map(str, kept_seeds))}" if kept_seeds else "none are"
            raise UsageError(f"the weights of seed {seed} are not kept ({held}); --retrain trains it")
    images = load((row and row.dataset) or dataset, Path(data) if data else None)
    check_batch(named.recipe, len(images.train_labels))
    check_statistics(named.recipe, architecture, images.dataset.task)
    if evidence is not None and recorded is not None and not retrain:
        weights = _kept_weights(workspace, evidence, recorded, images)
    else:
        weights = _fresh_weights(architecture, named, images, recorded, device=device, engine=engine, seed=seed)
    return _exported(architecture, weights, recorded, images, targets)


def _export_targets(onnx: str | Path | None, safetensors: str | Path | None) -> dict[str, Path]:
    """Return the files to write by their formats."""
    paths = {"onnx": onnx, "safetensors": safetensors}
    targets = {name: Path(path) for name, path in paths.items() if path is not None}
    if not targets:
        raise UsageError("nothing to export: give --onnx FILE, --safetensors FILE, or both")
    if len({path.absolute() for path in targets.values()}) < len(targets):
        raise UsageError("--onnx and --safetensors name the same file")
    for name, path in targets.items():
        if path.is_dir():
            raise UsageError(f"--{name} {path} is a folder; name a file in it")
        check_writable(path.parent, make=False)
    return targets


@dataclass(frozen=True, slots=True, eq=False)
class _Weights:
    """A trained network.

    Attributes:
        model: in evaluation mode.
        about: what files of it state.
        run: which seed it is, and how long it was trained.
        facts: whether it was trained just now, and how it compares with the record.
    """

    seed_index: int
    model: Network
    about: dict[str, str]
    run: Result | SeedRun
    facts: dict[str, Any]


def _kept_weights(workspace: Workspace, evidence: Record, recorded: SeedRun, images: ImageData) -> _Weights:
    from harness.evidence.evaluate import network_of
    from harness.evidence.record import read_recorded

    weights = read_recorded(workspace.records, evidence, recorded.index)
    about = dict(weights.about) | {"weights_sha256": weights.sha256} | datasets.number_properties(images.dataset)
    match = "identical" if weights.sha256 == recorded.weights_sha256 else "repeated"
    facts = {"trained": False, "match": match}
    return _Weights(recorded.index, network_of(weights, images.dataset.task), about, recorded, facts)


def _fresh_weights(
    architecture: Architecture,
    named: NamedRecipe,
    images: ImageData,
    recorded: SeedRun | None,
    *,
    device: str,
    engine: str,
    seed: int,
) -> _Weights:
    from harness.evidence.record import match
    from harness.training.native.engine import engine_of_repeat
    from harness.training.result import Purpose, Status
    from harness.training.run import properties
    from harness.training.train import final_network

    engine = engine_of_repeat(engine, recorded.environment.engine if recorded else None)
    beacon = (recorded and recorded.beacon) or ""
    result, run = _trained(
        architecture, named, Purpose.VERIFY, images, device=device, engine=engine, seed_index=seed, beacon=beacon
    )
    if result.status is not Status.COMPLETE:
        raise TargetMissed(f"seed {seed} {result.status}: {result.message}; nothing was written")
    facts = {"trained": True, "match": match(result, recorded), "epochs": len(result.history)}
    return _Weights(seed, final_network(run), properties(result, images.dataset), result, facts)


def _exported(
    architecture: Architecture,
    weights: _Weights,
    recorded: SeedRun | None,
    images: ImageData,
    targets: Mapping[str, Path],
) -> Exported:
    """Write all files or none, and return what they are."""
    from harness.deployment.onnx import to_onnx
    from harness.interface.results import Exported
    from harness.training.run import to_safetensors
    from search_spaces.network import analyse

    contents: dict[Path, bytes] = {}
    file_facts = []
    for name, path in targets.items():
        file: dict[str, Any] = {"file": str(path), "format": name}
        if name == "onnx":
            pixels = images.train_images[:_CHECKED_IMAGES]
            contents[path], file["check"] = to_onnx(weights.model, images.dataset, pixels, weights.about)
        else:
            contents[path] = to_safetensors(weights.model, weights.about)
        file_facts.append(file | {"size_bytes": len(contents[path])})
    write_together(contents)
    run = weights.run
    analysis = analyse(architecture, images.dataset.task)
    return Exported(
        {
            "architecture": str(architecture),
            "hash": architecture.hash,
            "parameters": analysis.parameters,
            "stored_numbers": analysis.stored_numbers,
            **weights.facts,
            **{name: weights.about[name] for name in ("recipe", "recipe_hash", "dataset", "weights_sha256")},
            "seed_index": weights.seed_index,
            "seed": run.seed,
            "engine": run.environment.engine if run.environment else None,
            "train_seconds": run.train_seconds,
            "recorded_weights_sha256": recorded.weights_sha256 if recorded else None,
            "recorded_engine": recorded.environment.engine if recorded else None,
            "files": file_facts,
        }
    )


# Search ----------------------------------------------------------------------------------------------------------


@options.takes(
    seed={"help": "Random seed of the search."},
    epochs={
        "type": options.EPOCHS,
        "help": "Numbers of epochs to choose from, such as 5,10,30 [default: 5,8,12,20,30,60; with a recipe its own].",
    },
)
def search(
    dataset: str | Path | Dataset = "auto",
    *,
    budget: int = 20_000,
    limits: str | Sequence[str] | Mapping[str, int] | None = None,
    target_pct: float | None = None,
    minimise: str | Sequence[str] = ("parameters",),
    space: str = "auto",
    time: str | float = "57m",
    trials: int | None = None,
    seed: int = 0,
    recipe: str = "auto",
    epochs: int | str | Sequence[int] | None = None,
    prior: str = "shipped",
    sampler: str = "auto",
    trainer: str | None = None,
    start_from: str | None = None,
    study: str | None = None,
    trial_time: str | float = "30m",
    trial_memory: int = 4096,
    workers: int | str = "auto",
    cluster: str | None = None,
    device: str = "auto",
    engine: str = "auto",
    storage: str | None = None,
    log: str | None = None,
    data: str | Path | None = None,
    on_event: Callable[[Event], object] | None = None,
) -> Study:
    """Search for the smallest network that reaches the target, verify the best one found, and rank it.

    The same call resumes a study. Ctrl-C ends the search in order and returns what stands. A number of seconds is a
    duration too. ``on_event`` is called with each event of the study (``harness.studies.events``), on a thread of its
    own: what it raises stops nothing.

    Raises:
        UsageError: an unknown space, recipe, data set or sampler, or another process works on the study.
        ContentError: no network keeps the limits, or the study has another configuration.
        SearchSpaceError: the space cannot be read.
        DataError: the images are missing or damaged.

    >>> found = search("mnist-5k", space="@mine.space", recipe="smoke", target_pct=90, trials=2, study="mine")
    >>> found.standing, len(found.trials)
    (None, 2)
    """
    if on_event is not None and not callable(on_event):
        raise UsageError(f"on_event: a value of type {type(on_event).__name__} cannot be called")
    from harness.interface.results import Study
    from harness.interface.session import planned_search, search_shown
    from harness.searching.request import SearchRequest

    request = SearchRequest.of(
        dataset=dataset,
        data=data,
        budget=budget,
        limits=limits,
        target_pct=target_pct,
        minimise=minimise,
        space=space,
        sampler=sampler,
        recipe=recipe,
        trainer=trainer,
        epochs=epochs,
        prior=prior,
        start_from=start_from,
        seed=seed,
        time=time,
        trials=trials,
        trial_time=trial_time,
        trial_memory=trial_memory,
        workers=workers,
        cluster=cluster,
        device=device,
        engine=engine,
        study=study,
        storage=storage,
        log=log,
        on_event=on_event,
    )
    changed = options.changed(search, request)
    origins = {name: "call" if name in changed else "default" for name in options.names(search)}
    check_may_start()
    with planned_search(request, origins) as plan:
        search_shown(plan, changed, on_event=on_event)
    return Study(plan.folder, plan.workspace)


# Verification ----------------------------------------------------------------------------------------------------


@options.takes(recipe=_OWN_RECIPE)
def verify(
    network: str | Architecture | Trial,
    seeds: int | None = None,
    *,
    target_pct: float | None = None,
    recipe: str | None = None,
    epochs: int | None = None,
    dataset: str = "auto",
    name: str = "",
    workers: int | str = "auto",
    device: str = "auto",
    engine: str = "auto",
    data: str | Path | None = None,
) -> Verified:
    """Train a network on a fixed list of seeds and all training images, and read the test set once for each seed.

    Args:
        network: as ``explain`` takes it, or a trial of a study, which brings recipe, data set and target.

    Raises:
        UsageError: an unknown recipe or data set, or a folder that cannot be written.
        ContentError: several rows fit, or the recipe does not suit the network or the data.
        DataError: the images are missing or damaged.

    >>> network = "conv3x3(4) bn relu | maxpool(4) | gap | linear(10)"
    >>> record = verify(network, 2, dataset="mnist-5k", recipe="smoke", target_pct=5, engine="torch", workers=1)
    >>> record.tier, len(record.record.seeds)
    ('measured', 2)
    """
    request = VerifyRequest(
        network=network,
        seeds=seeds,
        target_pct=target_pct,
        recipe=recipe,
        epochs=epochs,
        dataset=dataset,
        name=name,
        workers=cast("int | None", workers),
        device=device,
        engine=engine,
        data=cast("Path | None", data),
    )
    check_may_start()
    plan = plan_verification(request, files.workspace())
    return run_verification(plan, files.workspace(), request.data)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """The arguments of ``verify``, of the same names, after ``harness.interface.options`` has checked them.

    Attributes:
        certify: the lower bound is to reach the target, on seeds declared in a commit.
    """

    network: str | Architecture | Trial
    seeds: int | None = None
    target_pct: float | None = None
    recipe: str | None = None
    epochs: int | None = None
    dataset: str = datasets.AUTO
    name: str = ""
    workers: int | None = None
    device: str = "auto"
    engine: str = "auto"
    data: Path | None = None
    certify: bool = False


def plan_verification(request: VerifyRequest, workspace: Workspace) -> Plan:
    """Return what a verification is about to do; raises as ``verify`` does."""
    from harness.evidence import ledger
    from harness.evidence.leaderboard import collect
    from harness.evidence.verify import Plan, due_indices
    from harness.interface.lookup import KnownRow, NetworkArgument, only_row, recipe_of
    from harness.interface.results import Trial
    from harness.system.user_code import function_of
    from harness.training.recipe import check_batch, check_statistics

    network = request.network
    seeds = request.seeds
    target_pct = request.target_pct
    task = datasets.task_of(request.dataset)
    dataset = None if request.dataset == datasets.AUTO else request.dataset
    row: KnownRow | None
    if isinstance(network, Trial):
        meant = NetworkArgument(network.architecture)
        row = KnownRow(network.recipe, network.recipe_name, network.dataset, network.target_pct)
    else:
        meant = _network(network, workspace, task)
        row = only_row(meant, dataset=dataset, target_pct=target_pct, recipe_given=request.recipe is not None)
    named = recipe_of(row, request.recipe, request.epochs)
    check_statistics(named.recipe, meant.architecture, task)
    if named.recipe.trainer:
        # A recipe of before does not say which code it is of: its seeds are pooled with no others.
        function_of(named.recipe.trainer, "trainer", named.recipe.trainer_sha256 or "not recorded")
    if request.certify and seeds is not None and seeds < ledger.FEWEST_SEEDS:
        raise UsageError(f"--seeds {seeds}: a certification takes at least {ledger.FEWEST_SEEDS} seeds")

    from harness.data.training_images import load
    from harness.system.machine import choose_device, worker_count
    from harness.training.native.engine import choose_engine

    device = choose_device(request.device)
    choice = choose_engine(request.engine, named.recipe, device, meant.architecture.op_types)
    options.say_training(choice, named.recipe, task, workspace.teachers)
    images = load(dataset or (row and row.dataset) or request.dataset, request.data)
    check_batch(named.recipe, len(images.train_labels))
    stated = row.target_pct if row is not None and target_pct is None else target_pct
    if not (target := images.dataset.target_pct if stated is None else stated):
        raise UsageError(f"{images.dataset.name} has no usual target; give one, as in --target 95")
    for folder in (workspace.root, workspace.records, workspace.runs):
        check_writable(folder)
    collect(workspace)
    plan = Plan(
        architecture=meant.architecture,
        recipe=named,
        dataset=images.dataset.name,
        target_pct=target,
        indices=(),
        device=str(device),
        engine=request.engine if request.engine == "auto" else choice.kind,
        workers=worker_count(request.workers, device),
        name=request.name or meant.name,
        certify=request.certify,
    )
    if request.certify:
        return replace(plan, indices=tuple(range(seeds or ledger.DEFAULT_SEEDS)))
    return replace(plan, indices=due_indices(plan, workspace, seeds or 10))


def run_verification(
    plan: Plan, workspace: Workspace, folder: Path | None, executor_of: ExecutorOf | None = None
) -> Verified:
    """Run the seeds of a plan, show how they go on, and rewrite the standings."""
    from harness.evidence.leaderboard import refresh
    from harness.evidence.verify import run_seeds
    from harness.interface.results import Verified
    from harness.training.executors.base import Limits, Source
    from harness.training.executors.processes import Processes
    from harness.training.progress import Reporter

    # The seeds of a certification are those of its declaration.
    if not plan.certify:
        spec = datasets.dataset(plan.dataset)
        say(
            f"{counted(len(plan.indices), 'seed')} of {plan.architecture.hash}, each trained by {plan.recipe.name} on "
            f"all {spec.train_size + spec.validation_size:,} training images of {spec.title}, then tested on its "
            f"{spec.test_size:,} test images"
        )
    source, limits = Source(plan.dataset, folder), Limits(seconds=6 * 3600)
    with Reporter(len(plan.indices), "seeds") as reporter:
        verdict = run_seeds(plan, workspace, source, limits, reporter.on_event, executor_of or Processes)
    refresh(workspace)
    return Verified(verdict)


def certificate(network: Trial, seeds: int, *, dataset: str, target_pct: float, workers: int | str) -> Certificate:
    """Declare fresh seeds of a network at once, run them, and return what they show; raises as ``verify`` does."""
    from harness.evidence.certificate import certificate_of
    from harness.evidence.verify import declare_certificate

    workspace = files.workspace()
    request = VerifyRequest(
        network=network,
        seeds=seeds,
        target_pct=options.value("target_pct", options.PER_CENT, target_pct),
        dataset=dataset,
        workers=options.value("workers", options.WORKERS, workers),
        certify=True,
    )
    plan = plan_verification(request, workspace)
    declaration = declare_certificate(plan, workspace, seeds)
    plan = replace(plan, certify=False, repeat=False, indices=declaration.indices)
    record = run_verification(plan, workspace, None).record
    return certificate_of(record, declaration)


# What is on record -----------------------------------------------------------------------------------------------

_RECORDED = {
    "recipe": {"help": "The recipe's name, where the network has several rows."},
    "seed": {"help": "Index of a recorded seed."},
}


@options.takes(**_RECORDED)
def load(
    network: str | Verified | Record, seed: int | None = None, *, recipe: str | None = None, dataset: str = "auto"
) -> OfPixels:
    """Return what a recorded seed has learned: a module from the raw numbers of its data set to logits.

    It takes (images, channels, rows, columns), MNIST's from 0 to 255, and gives (images, classes). Numbers of another
    scale are refused; what may only seem so is warned of.

    Args:
        network: as ``explain`` takes it, or a record; its weights are kept in ``records/weights``.
        seed: index of a recorded seed; the first whose weights are kept for None.

    Raises:
        ContentError: there is no record, or the weights are not kept or not those of the record.

    >>> import torch
    >>> model = load("conv3x3(4) bn relu | maxpool(4) | gap | linear(10)", seed=1)
    >>> model(torch.zeros(5, 28, 28, dtype=torch.uint8)).shape
    torch.Size([5, 10])
    """
    from harness.deployment.pixels import OfPixels
    from harness.evidence.evaluate import network_of
    from harness.evidence.record import kept_indices, read_recorded

    workspace = files.workspace()
    evidence = _record(network, workspace, dataset, recipe)
    spec = datasets.dataset(evidence.dataset)
    if seed is None:
        seed = next(iter(kept_indices(workspace.records, evidence)), 0)
    return OfPixels(network_of(read_recorded(workspace.records, evidence, seed), spec.task), spec).eval()


def _record(network: str | Verified | Record, workspace: Workspace, dataset: str, recipe: str | None) -> Record:
    from harness.evidence.record import Record
    from harness.interface.lookup import read_record
    from harness.interface.results import Verified

    if isinstance(network, Verified):
        return network.record
    if isinstance(network, Record):
        return network
    named = (
        network if isinstance(network, str) else _network(network, workspace, datasets.task_of(dataset)).architecture
    )
    return read_record(str(named), workspace, dataset, recipe)


@options.takes(**_RECORDED)
def evaluate(
    network: str | Verified | Record,
    seed: int = 0,
    *,
    recipe: str | None = None,
    dataset: str = "auto",
    data: str | Path | None = None,
) -> Evaluation:
    """Load the kept weights of a recorded seed and test them; the read of the test images is logged.

    Raises:
        ContentError: there is no record, or the weights are not kept or not those of the record.
        DataError: the images are missing or damaged.

    >>> found = evaluate("conv3x3(4) bn relu | maxpool(4) | gap | linear(10)", seed=1)
    >>> found.as_recorded, found.images
    (True, 500)
    """
    from harness.evidence.evaluate import evaluate_seeds

    workspace = files.workspace()
    evidence = _record(network, workspace, dataset, recipe)
    [evaluation], _ = evaluate_seeds(evidence, [seed], workspace, Path(data) if data else None)
    return evaluation


@options.takes()
def leaderboard(dataset: str | Path | Dataset | None = None, target_pct: float | None = None) -> Any:
    """Return the standings as a pandas table, a row a network, recipe, data set and target; the best first.

    >>> leaderboard("mnist-5k", target_pct=5)[["network", "parameters", "tier", "seeds"]].values.tolist()
    [['plain-94', 94, 'measured', 2]]
    """
    import pandas

    from harness.evidence.leaderboard import survey
    from harness.system.document import document_of
    from search_spaces.catalog import network_names

    rows = survey(files.workspace()).rows
    names = network_names((row.architecture, row.parameters) for row in rows)
    return pandas.DataFrame(
        [
            {"network": row.name or names[row.hash]} | document_of(row)
            for row in rows
            if dataset in (None, row.dataset) and target_pct in (None, row.target_pct)
        ]
    )


@options.takes(name={"help": "Name or folder; the latest study for None."})
def study(name: str | Path | None = None) -> Study:
    """Return a study of this workspace by its name or folder, the latest for None.

    Raises:
        UsageError: there is no such study.
        ContentError: its files do not hold together.

    >>> study("mine").trials[0].status
    'complete'
    """
    from harness.interface.lookup import read_study
    from harness.interface.results import Study

    workspace = files.workspace()
    return Study(read_study(None if name is None else str(name), workspace), workspace)


def report(of: str | Path | Study | None = None, path: str | Path | None = None) -> Path:
    """Write the report of a study, one HTML file that works offline, and return where it is.

    Args:
        of: a study as ``search`` returns it, its name, or None for the latest study.
        path: where to write it; ``report.html`` in the study's folder where it is None.

    Raises:
        UsageError: there is no such study, or the file cannot be written.
        ContentError: the study's files do not hold together.

    >>> report(study("mine"), "report.html").name
    'report.html'
    """
    from harness.interface.results import Study

    opened = of if isinstance(of, Study) else study(of)
    target = None if path is None else options.value("path", options.FILE, path)
    from reports.study_page import write_report

    written = write_report(opened.folder, files.workspace())
    if target is None:
        return written
    write_together({target: written.read_bytes()})
    return Path(target)
