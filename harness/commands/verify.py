"""``harness verify``: train a network on fresh seeds, and test each seed once."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from harness.interface import api, options
from harness.system import files
from harness.system.errors import UsageError


@click.command(short_help="Train a network on fixed seeds, and test each seed once.")
@options.of(api.verify)
@click.option("--certify", is_flag=True, help="Certify: the lower bound over declared seeds must reach the target.")
@click.option("--declare-only", is_flag=True, help="With --certify: declare the attempt in the ledger, train nothing.")
@options.option("cluster")
def verify(declare_only: bool, certify: bool, cluster: str | None, as_json: bool, **arguments: Any) -> int:
    """Train NETWORK on a fixed list of seeds and all training images, and read the test set once for each seed.

    NETWORK is a hash or name of the leaderboard, a preset such as seed4, the notation in quotes, @FILE, '-' (stdin), or
    a PyTorch module FILE.py:NAME, whose code is executed.
    The seeds cannot be chosen: seed 0 is the same number for all users. Exit code 3 if the target is missed. After an
    interruption, the same command runs only the missing seeds.

    To certify a network: declare the attempt (--certify --declare-only), commit the declaration (in a clone, 'harness
    leaderboard --publish NETWORK' enters the declaration in records/ledger.jsonl), then run the attempt (--certify).
    The seeds depend on the id of that commit, so publish the commit first. Over all attempts on a data set together,
    the probability of any false certification is at most five per cent, if the errors of the seeds have a skewness of
    at most 0.5 and no separate group of worse seeds is smaller than 50 % of the seeds; each attempt uses a part.

    \b
    harness verify 4b8be5 --seeds 5
    harness verify 'conv3x3(8) bn relu | maxpool | conv3x3(16) bn relu | gap | linear(10)'
    """
    from harness.evidence.verification_runs import declare_attempt
    from harness.interface.verification import VerifyRequest, plan_verification, run_verification
    from harness.training.executors.clusters import ClusterOptions, Kinds, connection

    if declare_only and not certify:
        raise UsageError("--declare-only requires --certify")
    request = VerifyRequest(certify=certify, **arguments)
    if certify and not declare_only and request.seeds is not None:
        raise UsageError("--seeds has no effect on a declared certification; use --seeds with --declare-only")
    workspace = files.workspace()
    plan = plan_verification(request, workspace)
    if declare_only:
        attempt = declare_attempt(plan, workspace, len(plan.indices))
        text = (
            f"attempt {attempt.number}: seeds {attempt.indices[0]} to {attempt.indices[-1]} of {attempt.hash}, target "
            f"{attempt.target_pct:g} %, {100 * attempt.confidence:g} % lower bound\n"
            f"commit {workspace.ledger}, then run the same command without --declare-only and --seeds"
        )
        options.print_result(as_json, {"attempt": asdict(attempt), "ledger": str(workspace.ledger)}, text)
        return 0
    # All seeds of a certification are trained on the same kind of machine.
    kinds = Kinds.FIRST if certify else Kinds.ANY
    cluster_options = ClusterOptions(request.workers, plan.device, plan.engine, kinds=kinds)
    with options.resumable(), connection(cluster)(cluster_options) as trainers:
        result = run_verification(plan, workspace, request.data, trainers.make_executor)
    options.print_result(as_json, result.document(), str(result))
    return 0 if result.passed else 3
