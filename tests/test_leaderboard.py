"""Rankings of hand-made scores, whose numbers are known, and the page that the repository shows."""

import itertools
import re
import shlex

import numpy as np
import pytest
from running import ROOT
from scipy import stats

from podarcade.envs.bounds import Bounds
from podarcade.reporting import leaderboard, leaderboard_figures, leaderboard_page, results, scores
from podarcade.reporting.leaderboard import Agent

SCORES, PAGE = ROOT / "benchmarks" / "scores", ROOT / "docs" / "leaderboard.md"
KNOWN = {"a": Bounds(-1, 0, 1), "b": Bounds(-1, 2, 4), "c": Bounds(-1, 0, 10), "flat": Bounds(-1, 1, 1)}
DRAWS = 500


@pytest.fixture(autouse=True)
def bounds(monkeypatch):
    known = results.known_bounds
    made_up = {*KNOWN, "unknown"}
    monkeypatch.setattr(
        results,
        "known_bounds",
        lambda section: KNOWN.get(section["name"]) if section["name"] in made_up else known(section),
    )


def row(game, agent, final, *, algorithm="ppo", twin="partial", budget=1000, first=0, **more):
    """A row of scores; `final` is on the scale of shares."""
    known = KNOWN.get(game, Bounds(0, 0, 1))
    values = [known.memoryless + value * (known.memory - known.memoryless) for value in final]
    words = f"podarcade launch --config=configs/{algorithm}.py:game={game},memory={agent} --config.frames={budget}"
    return {
        "task": {"game": game, "level": "easy", "twin": twin}, "environment": {}, "kind": "vector", "agent": agent,
        "algorithm": algorithm, "memory": "none" if agent == "none" else "gru", "budget": budget,
        "seeds": list(range(first, first + len(final))), "frames": budget, "final": values, "end": values,
        "area": values, "random": -1.0, "parameters": 10, "command": words, "fingerprint": agent, "changes": {},
        "origin": {"date": "2026-11-30", "commit": "a" * 40, "clean": True, "versions": {"jax": "1"}, "devices": []},
        "file": "mine.json", **more,
    }  # fmt: skip


def group(rows):
    (found,) = leaderboard.groups(rows)
    return found


def ranked(rows):
    return leaderboard.standings(group(rows), DRAWS)


def test_a_ranking_in_closed_form():
    """The middle half of 0, 1, ..., 7 is 2, 3, 4, 5, on two tasks of other bounds."""
    rows = [row("a", "gru", [0, 1, 2, 3]), row("b", "gru", [4, 5, 6, 7])]
    rows += [row("a", "none", [-3, -3, -3, 3]), row("b", "none", [-1, -1, -1, -1])]
    first, second = ranked(rows)
    assert (first.agent, first.place, first.iqm.mean, first.mean.mean) == (Agent("ppo", "gru"), 1, 3.5, 3.5)
    assert second.iqm.mean == np.mean([-3, -1, -1, -1]) and second.mean.mean == -1.25
    # On a, 12 of 16 pairs are better and one is equal; on b all are.
    assert first.over_next.mean == first.over_control.mean == pytest.approx((12.5 / 16 + 1) / 2)
    assert second.over_next is None and second.over_control is None
    assert (first.rank, second.rank) == ((1, 1, 1), (2, 2, 2)), "resampled seeds never change the order"
    assert first.seeds == (4, 4) and first.tasks == 2
    assert 1.5 <= first.iqm.low < 3.5 < first.iqm.high <= 5.5


def test_equal_agents_share_a_place_and_a_rank():
    rows = [row("a", name, [0.1, 0.1, 0.1]) for name in ("lru", "gru")] + [row("a", "none", [0.0, 0.0, 0.0])]
    gru, lru, none = ranked(rows)
    assert [item.agent.name for item in (gru, lru, none)] == ["gru", "lru", "none"]
    assert (gru.place, lru.place, none.place) == (1, 1, 3)
    assert gru.rank == lru.rank == (1.5, 1.5, 1.5) and none.rank == (3, 3, 3)
    assert gru.over_next[:3] == (0.5, 0.5, 0.5) and gru.over_control[:3] == (1, 1, 1)


def test_agents_of_one_distribution_have_wide_ranks():
    values = [0.1, 0.5, 0.2, 0.9, 0.4]
    first, second = ranked([row("a", "gru", values), row("a", "lru", values[::-1])])
    assert (first.place, second.place) == (1, 1) and first.over_next.mean == 0.5
    assert first.rank[1:] == second.rank[1:] == (1, 2)
    assert first.over_next.low < 0.5 < first.over_next.high


def test_one_seed_is_ranked_without_intervals():
    first, _ = ranked([row("a", "gru", [0.5]), row("a", "none", [0.1, 0.2])])
    assert first.place == 1 and np.isnan(first.rank.median) and np.isnan(first.iqm.low)
    rows = [row("a", "gru", [0.5]), row("a", "none", [0.1])]
    page = leaderboard_page.render(rows, leaderboard_page.rank(rows, DRAWS), SCORES, PAGE)
    assert "- One seed: no interval.\n" in page
    assert "| 1 | `gru` | ppo | 0.50 | 0.50 | 1.00 | 1.00 | - | 1 | [1 task](" in page
    assert "| `gru` | ppo | 0.500 | 0.50 | 0.500 |" in page, "no interval, and nothing bold"


def test_budgets_twins_and_kinds_are_never_compared():
    rows = [row("a", "gru", [1, 1]), row("a", "gru", [2, 2], budget=2000), row("a", "gru", [3, 3], twin="full")]
    rows += [row("a", "gru", [4, 4], kind="pixels"), row("a", "none", [0, 0])]
    found = leaderboard.groups(rows)
    assert [one.name for one in found] == [
        "vector, partial twin, 1,000 frames", "vector, partial twin, 2,000 frames", "vector, full twin, 1,000 frames",
        "pixels, partial twin, 1,000 frames",
    ]  # fmt: skip
    assert [len(leaderboard.standings(one, DRAWS)) for one in found] == [2, 0, 0, 0]
    assert leaderboard.standings(found[0], DRAWS)[0].iqm.mean == 1


def test_algorithms_are_never_pooled_and_have_their_own_control():
    rows = [row("a", "gru", [5, 5]), row("a", "gru", [1, 1], algorithm="pqn")]
    rows += [row("a", "none", [2, 2], algorithm="pqn"), row("a", "lru", [0, 0], algorithm="dqn")]
    found = {item.agent: item for item in ranked(rows)}
    assert len(found) == 4
    assert found["pqn", "gru"].over_control.mean == 0 and found["pqn", "none"].over_control is None
    assert found["ppo", "gru"].over_control is None, "the control of another algorithm is none"


def test_seeds_of_several_rows_are_pooled_and_repeated_ones_refused():
    first, more = row("a", "gru", [0, 1]), row("a", "gru", [2, 3], first=2, file="more.json")
    (cell,) = group([first, more]).cells.values()
    assert cell.seeds == [0, 1, 2, 3] and cell.shares.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"ppo gru on a easy: seeds 1 are scored twice \(mine.json, more.json\)"):
        leaderboard.groups([first, more | {"seeds": [1, 2]}])


def test_two_configurations_of_one_name_are_refused():
    rows = [row("a", "gru", [0, 1]), row("a", "gru", [2, 3], first=2, fingerprint="other")]
    with pytest.raises(ValueError, match=r"two configurations are called ppo gru on a easy .*; rename one agent"):
        leaderboard.groups(rows)
    rows[1]["environment"] = {"corridor_length": 3}
    assert group(rows).tasks == ["a easy", "a easy, corridor_length=3"], "another task may have the same agent"


def test_what_an_agent_lacks_is_left_out_for_all_and_said():
    rows = [row(game, agent, [1, 2]) for game in "abc" for agent in ("none", "gru", "lru")]
    rows = [one for one in rows if (one["task"]["game"], one["agent"]) != ("c", "lru")]
    rows += [row("a", "late", [9, 9])]
    found = group(rows)
    assert leaderboard.block(found) == ([Agent("ppo", name) for name in ("none", "gru", "lru")], ["a easy", "b easy"])
    standings = leaderboard.standings(found, DRAWS)
    assert {item.agent.name for item in standings} == {"none", "gru", "lru"} and {item.tasks for item in standings} == {
        2
    }
    page = leaderboard_page.render(rows, [(found, standings)], SCORES, PAGE)
    assert "- Left out: c easy (no runs of `lru`).\n" in page
    assert "- Not ranked: `late` (ppo), which lacks b easy.\n" in page
    assert "- Tasks: a easy, b easy.\n" in page and "### c easy: vector" in page


def test_tasks_without_bounds_are_shown_and_not_ranked():
    rows = [row(game, agent, [1, 2]) for game in ("a", "unknown", "flat") for agent in ("none", "gru")]
    found = group(rows)
    assert leaderboard.block(found).tasks == ["a easy"]
    page = leaderboard_page.render(rows, leaderboard_page.rank(rows, DRAWS), SCORES, PAGE)
    assert "Left out: unknown easy, flat easy (bounds unknown, or memory worth nothing)." in page
    assert "### unknown easy: vector, partial twin, 1,000 frames\n\nKnown returns: random policy -1.000." in page
    only = [one for one in rows if one["task"]["game"] == "unknown"]
    assert leaderboard.standings(group(only), DRAWS) == []
    page = leaderboard_page.render(only, leaderboard_page.rank(only, DRAWS), SCORES, PAGE)
    assert "no ranking" in page and "<img" not in page


def largest(has):
    """Agents times tasks of the largest complete block with two agents, by trying every set of tasks."""
    best = (0, 0)
    tasks = sorted(set().union(*has.values()))
    for size in range(1, len(tasks) + 1):
        for chosen in itertools.combinations(tasks, size):
            agents = sum(set(chosen) <= own for own in has.values())
            best = max(best, (agents * size, agents)) if agents > 1 else best
    return best


@pytest.mark.parametrize("seed", range(12))
def test_the_block_is_the_largest_of_all(seed):
    random = np.random.default_rng(seed)
    present = random.random((5, 6)) < random.uniform(0.3, 0.95)
    rows = [row("a", f"m{i}", [0, 1], environment={"n": j}) for i, j in zip(*np.nonzero(present), strict=True)]
    found = group(rows)
    agents, tasks = leaderboard.block(found)
    has = {agent: {task for task in found.tasks if (agent, task) in found.cells} for agent in found.agents}
    assert (len(agents) * len(tasks), len(agents)) == largest(has)
    assert all((agent, task) in found.cells for agent in agents for task in tasks)


@pytest.mark.parametrize("seed", range(20))
def test_bold_are_the_highest_and_what_welch_does_not_tell_from_it(seed):
    random = np.random.default_rng(seed)
    rows = [row("a", f"m{i}", random.normal(i / 3, random.uniform(0.1, 1), random.integers(2, 7))) for i in range(5)]
    found = group(rows)
    values = {agent: found.cells[agent, "a easy"].values("final") for agent in found.agents}
    top = max(values.values(), key=np.mean)
    expected = [
        a for a, own in values.items() if own is top or stats.ttest_ind(top, own, equal_var=False).pvalue > 0.05
    ]
    assert leaderboard.best(found, "a easy") == expected


def test_nothing_is_bold_where_nothing_can_be_compared():
    assert leaderboard.best(group([row("a", "gru", [1, 2])]), "a easy") == []
    assert leaderboard.best(group([row("a", "gru", [5]), row("a", "none", [1, 2])]), "a easy") == []
    assert leaderboard.best(group([row("a", "gru", [5, 5]), row("a", "none", [1])]), "a easy") == [Agent("ppo", "gru")]


def test_options_that_differ_from_the_presets_are_said():
    same = {"network.match": "parameters"}
    rows = [row(game, "none", [0, 0], changes=same) for game in "ab"]
    rows += [row("a", "gru", [0, 1], changes=same | {"memory.states": 3, "algorithm.learning_rate": 0.1})]
    rows += [row("b", "gru", [0, 1], changes=same | {"memory.states": 3, "algorithm.learning_rate": 0.2})]
    page = leaderboard_page.render(rows, leaderboard_page.rank(rows, DRAWS), SCORES, PAGE)
    assert "- Changed from the presets, all agents: network.match=parameters.\n" in page
    assert "- Changed from the presets, by agent: `gru` (ppo) memory.states=3.\n" in page
    assert "- `gru` (ppo) has other options by task: algorithm.learning_rate.\n" in page
    unknown = [row("a", "gru", [0, 1], changes=None), row("a", "none", [0, 0])]
    page = leaderboard_page.render(unknown, leaderboard_page.rank(unknown, DRAWS), SCORES, PAGE)
    assert "by agent: `gru` (ppo) a file without presets." in page


def test_agents_of_different_presets_are_said():
    rows = [row("a", "none", [0, 0]), row("a", "gru", [0, 1])]
    for one, preset in zip(rows, ("cpu", "gpu"), strict=True):
        one["command"] = one["command"].replace(" --config.frames", f",preset={preset} --config.frames")
    page = leaderboard_page.render(rows, leaderboard_page.rank(rows, DRAWS), SCORES, PAGE)
    assert "- Agents have different presets: `none` (ppo) cpu; `gru` (ppo) gpu.\n" in page
    rows[0]["command"] = rows[0]["command"].replace("cpu", "gpu")
    assert "presets:" not in leaderboard_page.render(rows, leaderboard_page.rank(rows, DRAWS), SCORES, PAGE)


def test_every_line_of_a_task_has_its_commands_below_it():
    """Long commands are folded, and read back as they were."""
    long = " ".join(f"--config.algorithm.option_{i}='{i} of many'" for i in range(12))
    rows = [row("a", "gru", [0, 1]), row("a", "gru", [2, 3], first=7), row("a", "none", [0, 0])]
    rows[1]["command"] += f" {long}"
    page = leaderboard_page.render(rows, leaderboard_page.rank(rows, DRAWS), SCORES, PAGE)
    block = re.findall(r"^```bash\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[1]
    assert re.findall("^# (.*)$", block, re.MULTILINE) == [
        "gru, ppo, seeds 0-1", "gru, ppo, seeds 7-8", "none, ppo, seeds 0-1"
    ]  # fmt: skip
    words = [shlex.split(line, comments=True) for line in block.replace("\\\n", " ").splitlines()]
    assert [line for line in words if line] == [shlex.split(one["command"]) for one in rows]
    assert max(map(len, block.splitlines())) <= 160 and "| 0-1, 7-8 |" in page


def test_pages_elsewhere_link_from_where_they_are(tmp_path):
    scores.write(tmp_path / "scores" / "mine.json", [row("a", "gru", [0, 1]), row("a", "none", [0, 0])])
    lines = leaderboard_page.write(tmp_path / "scores", tmp_path / "deep" / "board.md", DRAWS)
    text = (tmp_path / "deep" / "board.md").read_text(encoding="utf-8")
    assert lines == [f"leaderboard of 2 runs: {tmp_path}/deep/board.md", f"rankings: {tmp_path}/scores/leaderboard.png"]
    assert f"podarcade leaderboard --scores={tmp_path}/scores --output={tmp_path}/deep/board.md\n" in text
    for link in [*re.findall(r"\]\((?!#|http)([^)]+)\)", text), *re.findall(r'<img src="([^"]+)"', text)]:
        assert (tmp_path / "deep" / link).exists(), link


def test_the_picture_has_each_agent_at_its_interquartile_mean(tmp_path):
    rows = [row("a", "gru", [0.2, 0.4]), row("a", "none", [0.0, 0.1]), row("a", "gru", [0.3, 0.3], algorithm="pqn")]
    leaderboard_figures.draw(leaderboard_page.rank(rows, DRAWS), tmp_path / "x.svg")
    text = (tmp_path / "x.svg").read_text(encoding="utf-8")
    assert [name for name in ("gru (ppo)", "none (ppo)", "gru (pqn)") if name not in text] == []
    assert text.count('id="gru"') == 2 and "vector, partial twin, 1,000 frames: 1 task" in text


def test_the_page_of_the_repository_is_that_of_its_scores():
    rows = scores.read_folder(SCORES)
    text = leaderboard_page.render(rows, leaderboard_page.rank(rows), SCORES, PAGE)
    assert PAGE.read_text(encoding="utf-8") == text, "docs/leaderboard.md is stale: run podarcade leaderboard"
    assert (SCORES / leaderboard_page.PICTURE).stat().st_size > 10_000
