"""Every experiment of both POPGym Arcade papers: what it shows, and the commands that train, measure and draw it."""

import dataclasses

from benchmarks.popgym_commands import (
    CONTROL,
    DISTURBANCE,
    DRAWN,
    FOLDER,
    MEMORIES,
    SEVEN,
    SEVEN_RUNS,
    SHOWN,
    V1,
    V2,
    analysed,
    compare,
    compare_v1,
    compare_v2,
    density,
    diagnose,
    report,
    sized,
    switched,
    throughput,
)


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A figure or table of a paper.

    Attributes:
      name: "VERSION/EXPERIMENT".
      figure: where the paper has it.
      shows: what it shows.
      commands: of bash, run one after the other in the root of the repository.
      drawn: the files that show the same, in `DRAWN` or in the folder of each run.
      differs: what differs from the released scripts, and what had to be chosen.
    """

    name: str
    figure: str
    shows: str
    commands: tuple[str, ...]
    drawn: str
    differs: str


EXPERIMENTS = (
    Experiment(
        "v1/throughput",
        "Figure 2",
        "frames per second with 2 to 512 environments",
        (throughput("v1/throughput", V1, 256),),
        "`v1-throughput-N.json`, a bar chart beside each",
        "every frame is drawn and used; EnvPool and ALE, without gymnax, MinAtar and POPGym",
    ),
    Experiment(
        "v1/main",
        "Figures 3a, 11, 12, App. A",
        "returns of MLP, MinGRU and LRU by twin",
        (
            compare_v1("v1/main", f"{V1}/easy+medium+hard/full+partial", "none,min_gru,lru"),
            report("v1/main", "v1"),
        ),
        "`v1-main.json`, `v1-main.png`, `v1-main/learning-N.pdf`, `final.pdf`",
        "greedy evaluations beside the published maximum of training returns; Student's intervals",
    ),
    Experiment(
        "v1/battleship",
        "Figure 3b",
        "curves on BattleShip",
        (
            compare_v1("v1/battleship", "battleship/easy+medium/full+partial", "none,min_gru,lru"),
            report("v1/battleship", "v1/battleship-{easy,medium}-*"),
        ),
        "`v1-battleship/learning-N.pdf`",
        "as v1/main",
    ),
    Experiment(
        "v1/saliency",
        "Figures 4, 5, App. B",
        "pixels that a trained LRU depends on",
        (
            compare("v1/saliency", "pqn.py:version=v1,budget=long", "v1-long", f"{V1}/easy/full+partial", 1,
                    "--memories=lru"),
            diagnose("v1-long", f"--with=saliency {SHOWN}"),
        ),
        "`diagnostics/saliency-*.png` and `.gif` of each run",
        "actions do not cancel, no smoothing; level and number of seeds are not stated: easy, one",
    ),
    Experiment(
        "v1/long",
        "Figure 13",
        "curves of the runs of v1/saliency",
        (
            compare("v1/long", "pqn.py:version=v1,budget=long", "v1-long", f"{V1}/easy/full+partial", 1,
                    "--memories=lru"),
            report("v1/long", "v1-long"),
        ),
        "`v1-long.png`, `v1-long/learning-N.pdf`",
        "as v1/saliency",
    ),
    Experiment(
        "v1/churn",
        "Figure 14",
        "greedy actions that an update changes, by twin",
        (
            compare_v1("v1/churn", f"{V1}/easy+medium+hard/full+partial", "none,min_gru,lru"),
            f"podarcade export {FOLDER}/v1/*/* --format=csv --output={DRAWN}/v1-churn.csv",
        ),
        "`v1-churn.csv`, metrics `train/churn` and `train/churn_step`; no picture",
        "the released code compares indices of samples with indices of actions: about 1 always",
    ),
    Experiment(
        "v2/throughput",
        "throughput",
        "frames per second with 2 to 512 environments",
        (throughput("v2/throughput", V2, 128),),
        "`v2-throughput-N.json`, a bar chart beside each",
        "as v1/throughput",
    ),
    Experiment(
        "v2/main",
        "Figure 5",
        "return, Gap and Bias of seven memories",
        (
            compare_v2("v2/main", f"{V2}/easy+medium+hard/full+partial", f"--memories=none,{SEVEN} {CONTROL}"),
            report("v2/main", f"v2/*/{{none,control,{SEVEN}}}"),
        ),
        "`v2-main-gap_bias.png`, `v2-main.json`, `v2-main/final.pdf`",
        "one more control, of the recurrent trainer; Bias against it, the MLP's difference beside; no humans",
    ),
    Experiment(
        "v2/pareto",
        "Figure 6",
        "Gap and Bias by depth and width",
        (
            compare("v2/pareto-battleship", "pqn.py:version=v2", "v2-pareto", "battleship/easy/full+partial", 3,
                    sized("min_gru")),
            compare("v2/pareto-minesweeper", "pqn.py:version=v2", "v2-pareto", "minesweeper/easy/full+partial", 3,
                    sized("lru", "transformer")),
        ),
        "`v2-pareto-GAME-gap_bias.png` and `-pareto.png`",
        "the width reaches the network, which it does not in a released branch; a control for each size",
    ),
    Experiment(
        "v2/saliency",
        "Figure 3",
        "pixels that GRU and LRU depend on",
        (
            compare_v2("v2/saliency", f"{V2}/easy/full", f"--memories={MEMORIES}"),
            diagnose("v2/*-easy-full/{gru,lru}", f"--with=saliency {SHOWN}"),
        ),
        "`diagnostics/saliency-*.png` and `.gif` of each run",
        "actions do not cancel, no smoothing; the level is not stated: easy",
    ),
    Experiment(
        "v2/density",
        "Figure 7",
        "Recall Density by thirds of an episode",
        (
            compare_v2("v2/density", f"{V2}/easy/full+partial", f"--memories={SEVEN}"),
            *density("v2"),
            report("v2/density", f"v2/*-easy-*/{SEVEN_RUNS}"),
        ),
        "`v2-density/recall-thirds.pdf`, `recall-curves.pdf`",
        "time of each episode, 32 episodes a seed, untrained control; Breakout and Tetris up to 128 steps",
    ),
    Experiment(
        "v2/variance",
        "Figure 8",
        "curves of GRU and LRU, all seeds",
        (
            compare_v2("v2/variance", f"{V2}/easy+medium+hard/full+partial", f"--memories={MEMORIES}"),
            report("v2/variance", "v2/*/{gru,lru}"),
        ),
        "`v2-variance.png`, `v2-variance/learning-N.pdf`, each seed in its CSV",
        "greedy evaluations; the tasks are not stated: all",
    ),
    Experiment(
        "v2/noise",
        "Figure 9",
        "one noisy frame changes later decisions",
        (
            compare_v2("v2/noise", f"{V2}/easy/full+partial", "--memories=lru"),
            diagnose("v2/*-easy-*/lru", f"--with=contamination {DISTURBANCE}"),
            report("v2/noise", "v2/*-easy-*/lru"),
        ),
        "`v2-noise-report.html`; by lag `diagnostics/contamination-*.npz` of each run",
        "noise in units of the pixel range, actions and starts replayed, all steps instead of step 10",
    ),
    Experiment(
        "v2/shuffle",
        "Figure 10",
        "shuffled frames change later decisions",
        (
            compare_v2("v2/shuffle", "battleship+minesweeper/easy/full+partial", "--memories=lru"),
            compare_v2("v2/shuffle-cartpole", "cartpole/easy/full+partial", "--memories=transformer"),
            diagnose("v2/{battleship,minesweeper}-easy-*/lru", f"--with=contamination {DISTURBANCE}"),
            diagnose("v2/cartpole-easy-*/transformer", f"--with=contamination {DISTURBANCE}"),
            report("v2/shuffle", f"v2/{{battleship,minesweeper}}-easy-*/lru {FOLDER}/v2/cartpole-easy-*/transformer"),
        ),
        "`v2-shuffle-report.html`; lag 20 in `diagnostics/contamination-*.npz` of each run",
        "16 random permutations of frames 2 to 10 for each of 32 episodes",
    ),
    Experiment(
        "v2/ppo",
        "appendix",
        "the same analyses under PPO",
        analysed("v2/ppo", "ppo"),
        "as v2/main, v2/density, v2/saliency and v2/noise",
        "log-probabilities instead of logits; the levels are not stated: easy",
    ),
    Experiment(
        "v2/dqn",
        "appendix",
        "the same analyses under DQN",
        analysed("v2/dqn", "dqn"),
        "as v2/main, v2/density, v2/saliency and v2/noise",
        "a variant: the released program never calls its recurrent DQN; easy levels",
    ),
    Experiment(
        "new/switch",
        "in neither",
        "the twin changes after half the training",
        (switched("new/switch", "full", "partial"), switched("new/switch", "partial", "full")),
        "`new-switch-TWIN.json`, `.png`; a table of drop, recovery and final difference",
        "mentioned as possible in both papers; GRU and LRU on easy games of 20,000,000 frames",
    ),
)  # fmt: skip
