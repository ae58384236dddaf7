"""Contract check of algorithms, made when a run is built."""

from podarcade.algorithms import Algorithm

METHODS = ("network", "act", "exploration", "loss")


def check_algorithm(kind: type[Algorithm]) -> None:
    """Check that an algorithm defines what the base class leaves open.

    Shapes are checked where the update is traced; an error there names the line of the algorithm.

    Args:
      kind: the class.

    Raises:
      ValueError: a method or the name of the parameter group is missing.
    """
    missing = [name for name in METHODS if getattr(kind, name) is getattr(Algorithm, name)]
    if missing:
        raise ValueError(f"{kind.__name__} does not define {missing[0]}; expected {', '.join(METHODS)}, see Algorithm")
    if not kind.GROUP:
        raise ValueError(f"{kind.__name__}.GROUP is empty; expected a name for its parameter group, such as 'q'")
