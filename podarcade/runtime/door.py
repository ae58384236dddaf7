"""The frame of a command: flags, help, one line for an error, and the exit code."""

import signal
import sys
from collections.abc import Callable
from typing import Any

from podarcade.runtime import failures
from podarcade.runtime.signals import DONE


def enter(about: str | None, options: Any, arguments: list[str], action: Callable[[list[str]], int]) -> int:
    """Run a command; return its exit code: that of the action, 130 for Ctrl-C, or that of the error, which is printed.

    Args:
      about: what the help shows above the flags.
      options: flags of the command, `help` among them; they are set.
      arguments: the command line, the program's name first.
      action: called with the words that are no flags.
    """
    try:
        words = options(arguments)[1:]
        if options.help:
            print(f"{about}\n{options.get_help()}")
            return DONE
        return action(words)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 128 + signal.SIGINT
    except Exception as error:
        failure = failures.classify(error)
        failures.show(failure, error)
        return failure.exit_code


def flags_only(action: Callable[[], int]) -> Callable[[list[str]], int]:
    """Return an action for `enter` that refuses words that are no flags."""

    def act(words: list[str]) -> int:
        if words:
            raise ValueError(f"unexpected argument {words[0]!r}; options start with --")
        return action()

    return act
