"""`hclf` on the command line: thin commands over the library.

Exit status: 0 ok, 1 failure, 2 wrong usage, 130 interrupted. Results go to stdout, everything said to a person to
stderr. Heavy modules are imported inside the commands, so that `hclf --help` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import typer

from hclf._version import __version__
from hclf.cli import apply, audit, compare, data, demo, explain, interchange, model, prompts, taxonomy
from hclf.errors import HclfError

# Typer used to depend on click and now carries its own copy: take the error classes from whichever it uses.
_UsageError: Any = typer.BadParameter.__mro__[1]
_ClickException: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="hclf",
    help="Classify documents into the nodes of a taxonomy; every answer holds the ancestors of its labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    model.train,
    apply.predict,
    apply.evaluate,
    compare.compare,
    model.tune,
    explain.explain,
    apply.check,
    audit.audit,
    interchange.import_hf,
    interchange.export_hf,
    model.inspect,
    prompts.templates,
    demo.demo,
):
    app.command()(command)
app.add_typer(taxonomy.app, name="taxonomy")
app.add_typer(data.app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"hclf {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Classify documents into the nodes of a taxonomy; every answer holds the ancestors of its labels."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, print errors as one line each, and exit."""
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        command = typer.main.get_command(app)
        # Not command.main(): it turns Ctrl-C and a closed pipe into exit statuses before they get here.
        with command.make_context("hclf", given) as context:
            status = command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as error:
        status = error.exit_code
    except HclfError as error:
        status = _fail(str(error), error.exit_code)
    except _ClickException as error:
        status = _fail_usage(error)
    except (KeyboardInterrupt, typer.Abort):
        status = _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of our output has left, as `| head` does: nothing went wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:  # a fault of ours: still one line, and how to see more
        if os.environ.get("HCLF_DEBUG"):
            raise
        # Only the type: a message from elsewhere may quote a document.
        status = _fail(f"internal error ({type(error).__name__}); HCLF_DEBUG=1 shows where", 1)
    sys.exit(status if isinstance(status, int) else 0)


def _fail_usage(error: Any) -> int:
    if not isinstance(error, _UsageError):
        return _fail(error.format_message(), error.exit_code)
    if type(error).__name__ == "NoArgsIsHelpError":  # its message is the help text
        return _fail(error.format_message(), 2, prefix="")
    path = error.ctx.command_path if error.ctx else "hclf"
    return _fail(f"{error.format_message()} ({path} --help says more)", 2)


def _fail(message: str, status: int, prefix: str = "hclf: ") -> int:
    for line in message.splitlines():
        sys.stderr.write(f"{prefix}{line}\n")
    return status
