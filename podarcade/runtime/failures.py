"""What has gone wrong, in a line."""


def one_line(error: BaseException | None, most: int = 200) -> str:
    """The first line of what an error says, or its kind where it says nothing; empty where there is none.

    Args:
      error: what was raised, if anything was.
      most: characters; what is longer is cut.
    """
    if error is None:
        return ""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    return text if len(text) <= most else f"{text[:most]}..."
