"""The eleven functions of ``import harness``; most commands call the function of the same name.

The decorators of ``options`` check and convert the arguments before a function runs, and add help texts to its
docstring; ``cast`` states the type after the conversion. Slow libraries are imported inside the functions, so that
invalid arguments are refused without a delay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness.data import datasets
from harness.interface import options
from harness.interface.results import Explanation, Exported, Quote, Study, Trained, VerificationResult
from harness.searching.option_types import FILE
from harness.searching.request import SearchRequest
from harness.spaces.catalog import NOTES, network_names
from harness.spaces.chips import Chip, Fit
from harness.spaces.integer_plan import WIDE_BITS
from harness.spaces.network import MNIST, Task, analyse
from harness.system import files
from harness.system.document import document_of
from harness.system.errors import UsageError
from harness.system.files import check_file, write_together
from harness.system.machine import check_may_start
from harness.system.option import converted
from harness.system.terminal import busy, say

if TYPE_CHECKING:
    from typing import TypeAlias

    from harness.data.datasets import Dataset
    from harness.evidence.evaluation import Evaluation
    from harness.evidence.record import Record
    from harness.interface.results import NetworkLike
    from harness.training.pixels import RawInputNetwork

    _Recorded: TypeAlias = NetworkLike | VerificationResult | Record

_ROW_RECIPE = "Training recipe: a name, a hash, or @FILE.toml [default: recipe of the leaderboard row, else fast]."


# One network -----------------------------------------------------------------------------------------------------


@options.takes()
def explain(
    network: NetworkLike,
    *,
    budget: int | None = None,
    chip: str | Chip | None = None,
    input_shape: Any = MNIST.input_shape,
    classes: int = MNIST.classes,
    torch: bool = False,
) -> Explanation:
    """Return the cost of a network, op by op.

    Raises:
        UsageError: An argument is invalid, or the study has no answer.
        ContentError: No network, or more than one, has this hash or name.
        SearchSpaceError: The notation is invalid, the ops do not fit together, the network has more parameters than the
            budget, or ``chip`` is set and an op has no integer form.

    Returns:
        An ``Explanation``, which prints as a table.

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
    from harness.interface.lookup import network_argument

    task = Task(input_shape, classes)
    argument = network_argument(network, files.workspace(), task, only_notation=torch)
    architecture = argument.architecture
    if torch and architecture.user_module is not None:
        reason = "a module is counted by torch and fvcore already"
        raise UsageError(f"the option torch compares networks of the notation; {reason}")
    if argument.translated_module:
        say(f"notation: {architecture}")
    if argument.name in NOTES:
        say(f"{argument.name}: {NOTES[argument.name]}")
    if task == MNIST and argument.rows and argument.rows[0].dataset:
        # The task of the network's row on the leaderboard, unless --input or --classes is given.
        task = datasets.task_or_mnist(argument.rows[0].dataset)
    weight_bits = max((row.recipe.weight_bits for row in argument.rows if row.recipe), default=WIDE_BITS)
    analysis = analyse(architecture, task, budget, weight_bits)
    fit = None
    if chip is not None:
        analysis.plan.check()
        fit = Fit(cast(Chip, chip), analysis)
    checks = None
    if torch:
        from harness.training.crosscheck import cross_check

        checks = cross_check(architecture, analysis)
    return Explanation(architecture, analysis, checks, fit, argument.parts)


@options.takes(
    dataset="Data set: auto, mnist, fashion-mnist, kmnist, mnist-5k, or a path ('harness data describe'); auto is "
    "mnist, or mnist-5k if MNIST is not available.",
    recipe="Training recipe: a name, or @FILE.toml; the recipe of a leaderboard row is not used.",
)
def train(
    network: NetworkLike,
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

    Raises:
        UsageError: An argument is invalid, such as an unknown recipe, data set or engine, or ``out`` cannot be written.
        ContentError: No network has this hash or name, or the recipe does not suit the network or the data.
        SearchSpaceError: The notation is invalid, or the network has more parameters than the budget.
        DataError: The images are missing or damaged.
        DeviceError: The device is not available.

    Returns:
        A ``Trained`` with the result of the run and the trained module.

    >>> training = train("conv3x3(4) bn relu | maxpool(4) | gap | linear(10)", "mnist-5k", epochs=1)
    >>> training.result.parameters, training.accuracy_pct > 10
    (94, True)
    """
    from harness.interface.lookup import network_argument
    from harness.training.recipe import check_network, named_recipe

    task = datasets.dataset_of_option(dataset).task
    architecture = network_argument(network, files.workspace(), task).architecture
    analyse(architecture, task, budget)
    choice = named_recipe(recipe, epochs=epochs)
    check_network(choice.recipe, architecture, task)
    if out is not None:
        check_file("out", Path(out))

    from harness.data.training_images import load
    from harness.interface.weights import train_here
    from harness.training.pixels import RawInputNetwork
    from harness.training.result import Purpose
    from harness.training.run import Job

    images = load(dataset, Path(data) if data else None)
    job = Job(
        architecture=architecture,
        recipe=choice.recipe,
        recipe_name=choice.name,
        purpose=Purpose.TRAIN,
        seed_index=seed,
        device=device,
        engine=engine,
        weights=None if out is None else Path(out),
    )
    result, training = train_here(job, images)
    return Trained(result, RawInputNetwork(training.final_network(), images.dataset, architecture))


# Export ----------------------------------------------------------------------------------------------------------


@options.takes(recipe=_ROW_RECIPE)
def export(
    network: NetworkLike,
    onnx: str | Path | None = None,
    safetensors: str | Path | None = None,
    c: str | Path | None = None,
    pytorch: str | Path | None = None,
    *,
    chip: str | Chip | None = None,
    optimise: str | None = None,
    profile: bool = False,
    stream: bool = False,
    seed: int = 0,
    recipe: str | None = None,
    epochs: int | None = None,
    dataset: str = "auto",
    device: str = "auto",
    engine: str = "auto",
    data: str | Path | None = None,
    retrain: bool = False,
    formats: Mapping[str, str | Path] | None = None,
) -> Exported:
    """Write a trained network as ONNX, as safetensors, or as a folder of C or PyTorch.

    The weights of a recorded seed are read from the record, unless ``retrain`` is set. A network without a record is
    trained on all training images first.

    The ONNX model takes the raw numbers of the data set, shape (batch, channels, rows, columns): uint8 for bytes,
    float64 for all else. The model is compared with torch before the file is written. If the network was trained to
    end with integers, maps and weights of the model are quantised (QDQ), and the model states how many logits and
    classes of training images differ from the integers. The ONNX and safetensors files name the classes in order,
    and state how raw numbers become the input of the network. A safetensors file has the names of tensors of the
    PyTorch module that ``network`` is, or with ``pytorch`` the names of ``model.py``, else ``ops.INDEX.NAME``. The
    C computes in integers and is compared with the reference on training images if a C compiler is installed. The
    folder of PyTorch does not need harness: the network as a class, the weights, and programs that evaluate and
    train the network.

    Args:
        formats: Paths by name of further formats, from installed packages (docs/use/extending.md).

    Raises:
        UsageError: No file is named, a file cannot be written, options contradict each other, or the weights of the
            seed are not kept.
        ContentError: Several leaderboard rows fit, the recipe does not suit the data, or the network does not fit the
            chip.
        SearchSpaceError: The notation is invalid, or an op lacks the form that ``chip`` or ``pytorch`` requires.
        DataError: The images are missing or damaged.
        DeviceError: Optional packages are missing, or the device is not available.
        TargetMissed: The training did not complete; nothing was written.

    Returns:
        An ``Exported`` with the facts about the network, the training and the files.

    >>> result = export("conv3x3(4) | gap | linear(10)", safetensors="net.st", dataset="mnist-5k", recipe="smoke")
    >>> result.facts["files"][0]["format"]
    'safetensors'
    """
    from harness.interface.export import export_network

    return export_network(
        network,
        {"onnx": onnx, "safetensors": safetensors, "c": c, "pytorch": pytorch} | dict(formats or {}),
        options={"chip": chip, "optimise": optimise, "profile": profile or None, "stream": stream or None},
        seed=seed,
        recipe=recipe,
        epochs=epochs,
        dataset=dataset,
        device=device,
        engine=engine,
        data=data,
        retrain=retrain,
    )


# Search ----------------------------------------------------------------------------------------------------------


@options.takes_request(SearchRequest)
def search(request: SearchRequest) -> Study:
    """Search for the smallest network that reaches the target, verify the best candidate, and rank the winner.

    The same call resumes a study. Ctrl-C stops the search cleanly and returns the unfinished study. Durations may be
    given in seconds.

    Raises:
        UsageError: An argument is invalid, such as an unknown space, recipe, data set or sampler, or another process
            works on the study.
        ContentError: No network meets the limits, or the study exists with a different configuration.
        SearchSpaceError: The space cannot be read.
        DataError: The images are missing or damaged.
        DeviceError: The device or the cluster is not available.

    Returns:
        A ``Study`` with all trials, the answer, and the verdict of the verification.

    >>> result = search("mnist-5k", space="@mine.space", recipe="smoke", target_pct=90, trials=2, study="mine")
    >>> result.answer, len(result.trials)
    (None, 6)
    """
    from harness.interface.session import planned_search, run_search_with_progress

    check_may_start()
    with planned_search(request) as plan:
        run_search_with_progress(plan, request)
    return Study(plan.folder, plan.workspace)


@options.takes(time="Time limit of the trainings.", seed="Random seed of the search.")
def quote(
    dataset: str | Path | Dataset = "auto",
    *,
    target_pct: float | None = None,
    budget: int = SearchRequest.budget,
    limits: str | Sequence[str] | Mapping[str, int] | None = None,
    space: str = "auto",
    recipe: str = "auto",
    time: str | float = "1m",
    seed: int = 0,
    workers: int | str = "auto",
    device: str = "auto",
    engine: str = "auto",
    data: str | Path | None = None,
) -> Quote:
    """Forecast the result and the duration of a search, from a few networks that are trained now.

    Nothing is written, and the test set is not read.

    Raises:
        UsageError: An argument is invalid, such as an unknown space, recipe or data set, or no network was trained
            within ``time``.
        ContentError: No network meets the limits.
        SearchSpaceError: The space cannot be read.
        DataError: The images are missing or damaged.
        DeviceError: The device is not available.

    Returns:
        A ``Quote`` with intervals for the parameters of the answer and for the seconds of the search.

    >>> forecast = quote("mnist-5k", space="@mine.space", recipe="smoke", target_pct=20, time=20, workers=1)
    >>> len(forecast.parameters), forecast.document()["linear"]["parameters"]
    (3, 7850)
    """
    request = SearchRequest(**locals())  # the arguments have the names of the fields
    from harness.searching.plan import plan_search
    from harness.searching.probes import probe

    check_may_start()
    plan = plan_search(request, files.workspace(), recipe_choice="as in short searches")
    options.say_training(plan.training.engine, plan.training.named_recipe.recipe, plan.data.train_size)
    with busy("training a few networks"):
        return Quote(probe(plan, request.time))


# Verification ----------------------------------------------------------------------------------------------------


@options.takes(recipe=_ROW_RECIPE)
def verify(
    network: NetworkLike,
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
) -> VerificationResult:
    """Train a network on all training images with a fixed list of seeds, and test each seed once on the test set.

    The seeds are pooled into the record of the network and the leaderboard is rewritten. A trial or study also sets
    recipe, data set and target.

    Raises:
        UsageError: An argument is invalid, the study has no answer, or a folder cannot be written.
        ContentError: Several leaderboard rows fit, or the recipe does not suit the network or the data.
        SearchSpaceError: The notation is invalid, or the ops do not fit together.
        DataError: The images are missing or damaged.
        DeviceError: The device is not available.

    Returns:
        A ``VerificationResult`` with the record, the tier and the lower bound of the mean accuracy.

    >>> network = "conv3x3(4) bn relu | maxpool(4) | gap | linear(10)"
    >>> result = verify(network, 2, dataset="mnist-5k", recipe="smoke", target_pct=5, engine="torch", workers=1)
    >>> result.tier, len(result.record.seeds)
    ('measured', 2)
    """
    arguments = dict(locals())  # the arguments have the names of the fields
    from harness.interface.verification import VerifyRequest, plan_verification, run_verification

    request = VerifyRequest(**arguments)
    check_may_start()
    return run_verification(plan_verification(request, files.workspace()), files.workspace(), request.data)


# Records and studies ---------------------------------------------------------------------------------------------

# Help texts of ``load`` and ``evaluate``.
_RECORDED = {
    "network": "Recorded network: a ``Record``, a ``VerificationResult``, or a network as for ``explain``.",
    "recipe": "Name or hash of the recipe, if the network has several rows.",
    "seed": "Index of a recorded seed.",
}


@options.takes(**_RECORDED)
def load(
    network: _Recorded, seed: int | None = None, *, recipe: str | None = None, dataset: str = "auto"
) -> RawInputNetwork:
    """Return the trained network of a recorded seed as a torch module from raw numbers to logits.

    The input has the shape (images, channels, rows, columns) and the scale of the data set (MNIST: 0 to 255); the
    output has the shape (images, classes). Numbers of a different scale, such as fractions in place of bytes, raise
    DataError; a doubtful scale causes a warning. A network recorded with precision ``int8`` computes in integers and
    has no gradient. Weights are read from ``records/weights``; if ``seed`` is None, the first seed with kept weights is
    used.

    Raises:
        UsageError: An argument is invalid, or the study has no answer.
        ContentError: There is no record, or the weights are missing or differ from the record.
        SearchSpaceError: The notation is invalid.

    Returns:
        The module, in evaluation mode.

    >>> import torch
    >>> model = load("conv3x3(4) bn relu | maxpool(4) | gap | linear(10)", seed=1)
    >>> model(torch.zeros(5, 28, 28, dtype=torch.uint8)).shape
    torch.Size([5, 10])
    """
    from harness.evidence.evaluation import network_of
    from harness.evidence.record import read_recorded
    from harness.training.pixels import RawInputNetwork

    workspace = files.workspace()
    record = _record(network, dataset, recipe)
    spec = datasets.dataset(record.dataset)
    if seed is None:
        seed = next(iter(record.kept_indices(workspace.records)), 0)
    model = network_of(read_recorded(workspace.records, record, seed), spec.task)
    return RawInputNetwork(model, spec, record.architecture).eval()


def _record(network: _Recorded, dataset: str, recipe: str | None) -> Record:
    from harness.evidence.record import Record
    from harness.interface.lookup import read_record

    if isinstance(network, VerificationResult):
        return network.record
    if isinstance(network, Record):
        return network
    return read_record(network, files.workspace(), dataset, recipe)


@options.takes(**_RECORDED)
def evaluate(
    network: _Recorded,
    seed: int = 0,
    *,
    recipe: str | None = None,
    dataset: str = "auto",
    data: str | Path | None = None,
) -> Evaluation:
    """Test the kept weights of a recorded seed on the test images; the read of the test set is logged.

    Raises:
        UsageError: An argument is invalid, or the study has no answer.
        ContentError: There is no record, or the weights are missing or differ from the record.
        SearchSpaceError: The notation is invalid.
        DataError: The images are missing or damaged.

    Returns:
        An ``Evaluation`` with the wrong images, compared with the record.

    >>> evaluation = evaluate("conv3x3(4) bn relu | maxpool(4) | gap | linear(10)", seed=1)
    >>> evaluation.as_recorded, evaluation.images
    (True, 500)
    """
    from harness.evidence.evaluation import evaluate_seeds

    record = _record(network, dataset, recipe)
    [evaluation], _ = evaluate_seeds(record, [seed], files.workspace(), Path(data) if data else None)
    return evaluation


@options.takes()
def leaderboard(dataset: str | Path | Dataset | None = None, target_pct: float | None = None) -> Any:
    """Return the leaderboard as a pandas table.

    Raises:
        UsageError: An argument is invalid, such as an unknown data set.

    Returns:
        A ``DataFrame`` with a row for each network, recipe, data set and target; the best row of a target comes first.

    >>> leaderboard("mnist-5k", target_pct=5)[["network", "parameters", "tier", "seeds"]].values.tolist()
    [['plain-94', 94, 'measured', 2]]
    """
    import pandas

    from harness.evidence.leaderboard_table import survey

    name = None if dataset is None else datasets.dataset_of_option(cast(str, dataset)).name
    rows = survey(files.workspace()).rows
    names = network_names((row.architecture, row.parameters) for row in rows)
    matches = [row for row in rows if name in (None, row.dataset) and target_pct in (None, row.target_pct)]
    return pandas.DataFrame([{"network": row.name or names[row.hash]} | document_of(row) for row in matches])


@options.takes(name="Name or folder; the latest study for None.")
def study(name: str | Path | None = None) -> Study:
    """Return a study of this workspace.

    Raises:
        UsageError: The study does not exist.
        ContentError: A file of the study is damaged.

    Returns:
        The ``Study``.

    >>> study("mine").trials[0].status
    'complete'
    """
    from harness.studies.names import study_folder

    workspace = files.workspace()
    return Study(study_folder(None if name is None else str(name), workspace), workspace)


def report(of: str | Path | Study | None = None, path: str | Path | None = None) -> Path:
    """Write the report of a study as an HTML file that works offline.

    Args:
        of: A ``Study``, the name or path of a study, or None for the latest study.
        path: File that gets a copy; ``report.html`` in the folder of the study is always written.

    Returns:
        The path of the copy, else of ``report.html``.

    Raises:
        UsageError: The study does not exist, or the file cannot be written.
        ContentError: A file of the study is damaged.

    >>> report(study("mine"), "report.html").name
    'report.html'
    """
    copy_path = None if path is None else Path(converted("path", FILE, path))
    reported_study = of if isinstance(of, Study) else study(None if of is None else converted("of", FILE, of))
    from harness.pages.study_page import write_report

    report_path = write_report(reported_study.folder, files.workspace())
    if copy_path is None:
        return report_path
    write_together({copy_path: report_path.read_bytes()})
    return copy_path
