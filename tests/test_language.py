"""Prose lint of README, docs, docstrings and comments."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CODE = sorted(path for folder in ("podarcade", "configs", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
FILES = [*DOCUMENTS, *CODE]

# Regular expressions, in which a space is any white space, a line break inside a comment included.
PHRASES = (
    r"(is|are|was|were|be|been) told",
    r"_?told(?! apart)",
    r"tells",
    r"; there (is|are)",
    r"there are \{",
    r"so many",
    r"whoever",
    r"to begin with",
    r"begins? with what",
    r"give at least",
    r"(goes|go|went|going) on(?! to)",
    r"run me again",
    r"at first(?! (sight|glance|order))",
    r"for people",
    r"what a person",
    r"hand(s|ed|ing)? (around|over)",
    r"(lie|lies|lay) beyond",
    r"(let|lets|letting) go of",
    r"(has|have|had) gone wrong",
    r"that there (is|are) not",
    r"what there (is|are)",
    r"alike",
    r"(is|are|was|were) learnt from",
    r"that learns? from it",
    r"(is|are) no experience",
    r"the one before",
    r"made up(?! of)",
    r"afresh",
    r"anew",
    r"each its own",
    r"by itself",
    r"what trails behind",
    r"goes without saying",
    r"the same command goes",
)
# In documents, which speak to readers: no first person and nothing unfinished.
DOCUMENT_PHRASES = (
    r"((?-i:I)|we|us|our|ours|my|mine)",
    r"(TODO|FIXME|XXX)",
)


def compiled(phrase: str) -> re.Pattern:
    """A pattern of whole words, whose spaces match line breaks and comment marks too."""
    words = phrase.replace(" ", r"\s+(?:#:?\s*)?")
    begin = r"(?<![\w'=])" if phrase[0] not in "/;" else ""
    end = r"(?!\w)" if phrase[-1] not in "/{" else ""
    return re.compile(rf"{begin}(?:{words}){end}", re.IGNORECASE)


def found_in(text: str, phrases: tuple[str, ...]) -> list[tuple[int, str]]:
    """Lines and matches of phrases in a text."""
    hits = []
    for phrase in phrases:
        for match in compiled(phrase).finditer(text):
            hits.append((text.count("\n", 0, match.start()) + 1, " ".join(match[0].split())))
    return sorted(set(hits))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_prose_lint(path):
    phrases = PHRASES + (DOCUMENT_PHRASES if path in DOCUMENTS else ())
    hits = found_in(path.read_text(encoding="utf-8"), phrases)
    assert not hits, "\n" + "\n".join(f"{path.relative_to(ROOT)}:{line}: {match!r}" for line, match in hits)


@pytest.mark.parametrize(
    "text",
    [
        "the user is told of it",
        "no game x; there are y, z",
        'f"no {name}; there are {names}"',
        "devices of so\n    many threads",
        "# which is made\n# up by the test",
        "all sets alike",
        "Retry afresh.",
    ],
)
def test_phrases_are_found(text):
    assert found_in(text, PHRASES)


@pytest.mark.parametrize(
    "text",
    [
        "There are four actions.",
        "None if there is none",
        "two suits told apart",
        "the sum is made up of two parts",
        "and so on",
        "at first order",
        "unlike",
        "renewal",
    ],
)
def test_plain_english_is_not(text):
    assert not found_in(text, PHRASES)


def test_first_person_is_found_and_an_index_is_not():
    assert found_in("which we think", DOCUMENT_PHRASES)
    assert found_in("I think", DOCUMENT_PHRASES)
    assert not found_in("environment i of n", DOCUMENT_PHRASES)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_lines_of_documents_are_short(path):
    """Prose has 120 columns; tables, commands and links that cannot be broken have 200."""
    code = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        code ^= line.startswith("```")
        breakable = not (code or line.startswith(("|", "    ", "<img", "  alt=")))
        assert len(line) <= (120 if breakable else 200), f"{path.relative_to(ROOT)}:{number}: {len(line)} columns"


def test_the_readme_is_a_page():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 250
