"""The caveats box: what a reader must know before believing the headline, in plain sentences."""

from __future__ import annotations

from harness.data.datasets import dataset
from harness.evidence.leaderboard import VERIFIED_CONFIDENCE, VERIFIED_SEEDS, Tier
from harness.evidence.ledger import DEFAULT_SEEDS, FEWEST_SEEDS
from reports.html.page import Column, Html, details, joined, numeric, table, terms, text
from reports.numbers import count, decimal, pct, plural, short
from reports.study.caveats import CONFIRMED_LABEL_ERRORS, Caveats, LabelErrors, binomial_error, errors_outside

TIERS = {
    Tier.CERTIFIED: f"the number of seeds was declared before the first one ({DEFAULT_SEEDS} unless stated, at least "
    f"{FEWEST_SEEDS}), and the one-sided lower t bound of the mean test accuracy is at or above the target; the bound "
    "is one of 99 % for the first attempt at a target and stricter for each further one",
    Tier.VERIFIED: f"at least {VERIFIED_SEEDS} fresh seeds, all that were declared, and the one-sided "
    f"{100 * VERIFIED_CONFIDENCE:g} % lower t bound of their mean test accuracy is at or above the target",
    Tier.AT_TARGET: f"the mean test accuracy of at least {VERIFIED_SEEDS} fresh seeds reaches the target, but its "
    f"one-sided {100 * VERIFIED_CONFIDENCE:g} % lower bound does not",
    Tier.MEASURED: "the test set was read, but the mean is below the target, or there are fewer than "
    f"{VERIFIED_SEEDS} seeds or fewer than were declared",
    Tier.SEARCHED: "a search measured it on validation images; nobody has tested it",
    Tier.CLAIMED: "others say so, and name a source; nobody has checked it here",
}


def box(facts: Caveats) -> Html:
    """Return the box with its sentences, the seeds of the answer and the tiers."""
    entries = {
        "Data": _data(facts),
        "Chosen on": _selection(facts),
        "Threshold": _threshold(facts),
        "Reads of the test set": _reads(facts),
        "The claim": _claim(facts),
        "Noise": _noise(facts),
        "Diverged": _diverged(facts),
    }
    if facts.label_errors is not None:
        entries["Wrong labels"] = _labels(facts.label_errors, len(facts.seeds))
    parts = [terms(entries, class_="box")]
    if facts.seeds:
        errors = ", ".join(count(seed.test_errors) for seed in facts.seeds)
        parts.append(details(f"Every seed: {errors} errors", _seeds_table(facts)))
    parts.append(details("What the tiers mean", terms({str(tier): f"{words}." for tier, words in TIERS.items()})))
    return joined(parts)


def _data(facts: Caveats) -> str:
    name = facts.config.dataset
    if name == "mnist-5k":
        return "mnist-5k: 5,000 images in place of MNIST. These figures cannot be compared with figures on MNIST."
    return f"{name}. Compare these figures only with figures on {name} for the same target."


def _selection(facts: Caveats) -> str:
    images = dataset(facts.config.dataset).validation_size
    return (
        f"The search trained, compared and chose networks by the {count(images)} validation images, a fixed part of "
        "the training images. It never saw the test set."
    )


def _threshold(facts: Caveats) -> str:
    offset = facts.config.threshold_pct - facts.config.target_pct
    threshold = f"On validation a network had to reach {short(facts.config.threshold_pct)} %"
    if offset == 0:
        return f"{threshold}: the target itself; the same accuracy is expected on validation and on test images."
    sign, expected = ("plus", "lower") if offset > 0 else ("less", "higher")
    return (
        f"{threshold}: the target of {short(facts.config.target_pct)} % {sign} {decimal(abs(offset), 3)} points. "
        f"Test accuracy is expected to be {expected} by this difference, which was estimated on training images alone."
    )


def _reads(facts: Caveats) -> str:
    return (
        f"{plural(facts.winner_reads, 'time')} for this study's answer, "
        f"{plural(facts.workspace_reads, 'time')} for any purpose on {facts.config.dataset} in this workspace."
    )


def _claim(facts: Caveats) -> str:
    images = dataset(facts.config.dataset).test_size
    return (
        f"The mean over training seeds on these {count(images)} test images, at the last epoch of a fixed schedule: "
        "not one lucky run, not the best epoch, and not other images."
    )


def _noise(facts: Caveats) -> str:
    target_pct, images = facts.config.target_pct, dataset(facts.config.dataset).test_size
    return (
        f"The target leaves room for {short((100 - target_pct) / 100 * images)} errors. From the finite test set alone "
        f"an accuracy at the target has a binomial standard error of {decimal(binomial_error(target_pct, images), 3)} "
        "points, so one seed proves little."
    )


def _diverged(facts: Caveats) -> str:
    verified = (
        f"{facts.diverged_seeds} of the answer's {plural(len(facts.seeds), 'verification seed')}"
        if facts.seeds
        else "No verification seed has been run"
    )
    search = plural(facts.diverged_in_search, "run")
    return f"{verified}; {search} of the search. A diverged seed counts with its errors."


def _labels(facts: LabelErrors, seeds: int) -> str:
    return (
        f"{facts.images} test images are confirmed to have a wrong label (Northcutt, Athalye and Mueller 2021); the "
        f"right labels are not known here. Mean over {plural(seeds, 'seed')}: {decimal(facts.errors_among, 1)} "
        f"errors among these {facts.images} images and {decimal(facts.errors_outside, 1)} among all others, of "
        f"which {pct(facts.accuracy_outside_pct, 3)} are right."
    )


def _seeds_table(facts: Caveats) -> Html:
    columns = (
        Column("seed", numeric=True),
        Column("value"),
        *numeric("test accuracy, %", "errors"),
        Column("ended"),
        *((Column("errors outside mislabelled images", numeric=True),) if facts.label_errors else ()),
    )
    suspects = CONFIRMED_LABEL_ERRORS.get(facts.config.dataset, frozenset())
    rows = [
        [
            text(seed.index),
            text(seed.seed),
            text(decimal(seed.accuracy_pct, 2)),
            text(count(seed.test_errors)),
            text(seed.status),
            *((text(count(errors_outside(seed, suspects))),) if facts.label_errors else ()),
        ]
        for seed in facts.seeds
    ]
    return table(
        "Every seed of the answer that was ever run. Seeds are fixed in advance by a hash, so none can be picked.",
        columns,
        rows,
        identifier="seeds-caption",
    )
