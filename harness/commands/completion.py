"""``harness completion``: shell completion of this program."""

from __future__ import annotations

import click


@click.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script that completes commands and options of 'harness' in SHELL.

    \b
    eval "$(harness completion bash)"                        # in ~/.bashrc
    eval "$(harness completion zsh)"                         # in ~/.zshrc
    harness completion fish > ~/.config/fish/completions/harness.fish
    """
    from click.shell_completion import get_completion_class

    shell_class = get_completion_class(shell)
    assert shell_class is not None, "click supports all offered shells"
    click.echo(shell_class(ctx.find_root().command, {}, "harness", "_HARNESS_COMPLETE").source())
