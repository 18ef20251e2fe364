"""`rookery completion`: the script that a shell needs to complete commands, options and names."""

import click
from click.shell_completion import get_completion_class

from rookery.cli.command import command


@command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash:  rookery completion bash > ~/.local/share/bash-completion/completions/rookery
    zsh:   rookery completion zsh > a file named _rookery in a directory of $fpath
    fish:  rookery completion fish > ~/.config/fish/completions/rookery.fish
    """
    cls = get_completion_class(shell)
    assert cls is not None
    script = cls(click.get_current_context().find_root().command, {}, "rookery", "_ROOKERY_COMPLETE")
    click.echo(script.source_template % script.source_vars())  # `source()` would run the shell to ask for its version
