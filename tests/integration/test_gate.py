"""`syncwatch gate` on the commits of a small repository: the exit code of each, and the lines that it names."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import Ended, not_under_coverage, syncwatch

TRAIN = """\
import torch

import syncwatch
from app.layers import forward

x = torch.arange(8.0, device="cuda")
for _ in range(2):
    with syncwatch.step():
        forward(x)
"""
LAYERS = """\
from app.helpers import scale


def forward(x):
    return scale(x * 2)
"""
HELPERS = """\
def scale(x):
    return x / normal(x)


def normal(x):
    total = x.sum()
    return total
"""
WAITING = HELPERS.replace("return total", "return total.item()")
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


class Repository:
    """A git repository with one script, and a function that the script reaches by three calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("init", "--quiet")
        self.commit("clean", {"train.py": TRAIN, "app/__init__.py": "", "app/layers.py": LAYERS})
        self.commit("helpers", {"app/helpers.py": HELPERS})

    def git(self, *arguments: str) -> None:
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        subprocess.run(["git", *who, *arguments], cwd=self.folder, check=True, capture_output=True)

    def commit(self, message: str, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)

    def gate(self, *arguments: str, target: str = "train.py", device: str = "virtual") -> Ended:
        return syncwatch("gate", target, "--device", device, *arguments, cwd=self.folder, env=NO_GPU)

    def verdict(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        ended = self.gate("--format", "json", *arguments)
        assert ended.out, ended.err
        verdict: dict[str, Any] = json.loads(ended.out)["verdict"]
        return ended.code, verdict


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def failing(verdict: dict[str, Any]) -> list[tuple[str, str, int]]:
    return [
        (ruling["reason"], ruling["file"], ruling["line"])
        for ruling in verdict["rulings"]
        if ruling["severity"] == "fail"
    ]


def test_the_ratchet_from_a_clean_commit_to_a_known_sync_and_the_next_one(repository: Repository) -> None:
    # GIVEN a commit in which nothing waits
    ended = repository.gate()
    assert ended.code == 0, ended.err
    assert "clean: train.py (watched) on the virtual device" in ended.out

    # WHEN a helper three calls down reads a value back, THEN the gate fails and names that line
    repository.commit("loss", {"app/helpers.py": WAITING})
    ended = repository.gate()
    assert ended.code == 1
    assert "--> app/helpers.py:7 in normal" in ended.out and "return total.item()" in ended.out
    assert "over policy" in ended.err

    # WHEN it is accepted, THEN it passes, and so it does when the code moves ten lines down
    assert repository.gate("--update-baseline").code == 0
    repository.commit("accepted", {})
    assert repository.verdict()[0] == 0
    repository.commit("moved", {"app/helpers.py": "# a licence\n" * 10 + WAITING})
    code, verdict = repository.verdict()
    assert code == 0, verdict
    assert [(each["reason"], each["line"]) for each in verdict["rulings"]] == [("known", 17)]

    # WHEN the same function waits once more, in a line of its own or in an equal one, THEN it fails
    other = WAITING.replace("total = x.sum()", "total = x.sum()\n    total.tolist()")
    repository.commit("second", {"app/helpers.py": other})
    code, verdict = repository.verdict()
    assert (code, failing(verdict)) == (1, [("new-site", "app/helpers.py", 7)])
    twice = WAITING.replace(
        "    return total.item()", "    if total is None:\n        return total.item()\n    return total.item()"
    )
    repository.commit("never reached", {"app/helpers.py": twice})
    assert repository.verdict()[0] == 0
    equal = WAITING.replace("total = x.sum()", "total = x.sum()\n    for _ in range(3):\n        total.item()")
    repository.commit("another line", {"app/helpers.py": equal})
    assert failing(repository.verdict()[1]) == [("new-site", "app/helpers.py", 8)]

    # WHEN it is gone, THEN the gate asks to lower the baseline, and fails when it is strict
    repository.commit("clean again", {"app/helpers.py": HELPERS})
    code, verdict = repository.verdict()
    assert (code, [each["reason"] for each in verdict["rulings"]]) == (0, ["gone"])
    assert repository.verdict("--strict")[0] == 1


def test_a_reason_in_the_source_holds_until_its_last_day(repository: Repository) -> None:
    line = "return total.item()  # syncwatch: allow[SW101] the caller needs a number"

    repository.commit("allowed", {"app/helpers.py": HELPERS.replace("return total", line)})
    code, verdict = repository.verdict()
    (ruling,) = verdict["rulings"]
    assert (code, ruling["reason"]) == (0, "allowed")
    assert ruling["site"]["calls_per_step"] == 1.0 and ruling["site"]["host_blocked_us"] > 0
    assert "the caller needs a number" in repository.gate().out

    repository.commit("expired", {"app/helpers.py": HELPERS.replace("return total", f"{line} until=2020-01-01")})
    code, verdict = repository.verdict()
    assert (code, failing(verdict)) == (1, [("expired-allow", "app/helpers.py", 7)])

    repository.commit("needless", {"app/helpers.py": HELPERS.replace("return total", line.replace(".item()", ""))})
    code, verdict = repository.verdict()
    assert (code, [(each["reason"], each["line"]) for each in verdict["rulings"]]) == (0, [("unused-allow", 7)])

    repository.commit("no reason", {"app/helpers.py": HELPERS.replace("return total", line.partition("] ")[0] + "]")})
    ended = repository.gate()
    assert ended.code == 2
    assert ended.err.startswith("error: app/helpers.py:7: the allow gives no reason.")


def test_a_block_of_code_gives_a_reason(repository: Repository) -> None:
    block = "with syncwatch.allow('the caller needs a number'):\n        return total.item()"
    source = f"import syncwatch\n\n{HELPERS.replace('return total', block)}"
    repository.commit("allowed", {"app/helpers.py": source})
    code, verdict = repository.verdict()
    (ruling,) = [each for each in verdict["rulings"] if each["site"]["code"] == "SW101"]
    assert (code, ruling["reason"], ruling["why"]) == (0, "allowed", "allowed: the caller needs a number.")


def test_a_policy_of_the_project(repository: Repository) -> None:
    repository.commit("loss", {"app/helpers.py": WAITING})

    def with_policy(text: str, *arguments: str) -> Ended:
        repository.commit("policy", {"pyproject.toml": f"[tool.syncwatch]\n{text}\n# {arguments}\n"})
        return repository.gate(*arguments)

    assert with_policy('causes.SW101 = "log"').code == 0
    assert with_policy('paths."app/**" = "allow"').code == 0
    assert with_policy("budgets.syncs = 1").code == 0
    assert with_policy("budgets.d2h_bytes = 3", "--max-syncs", "1").code == 1
    modelled = with_policy("budgets.gpu_idle_us = 1\nbudgets.syncs = 1")
    assert modelled.code == 0 and "was not judged" in modelled.out
    assert with_policy("budgets.gpu_idle_us = 1\nbudgets.syncs = 1", "--strict").code == 3
    gain = with_policy("budgets.syncs = 1", "--max-gain-us", "0.5")
    assert gain.code == 0 and "the budget of 0.5 for gain_us was not judged" in gain.out
    assert with_policy("max_gain_us = 9\nbudgets.syncs = 1", "--strict").code == 3
    wrong = with_policy('explicitt = "log"')
    assert (wrong.code, wrong.out) == (2, "")
    assert "pyproject.toml:2: no key 'explicitt'. Did you mean 'explicit'?" in wrong.err


def test_a_range_has_a_level_of_its_own(repository: Repository) -> None:
    named = TRAIN.replace("        forward(x)", "        with syncwatch.annotate('decode 3'):\n            forward(x)")
    repository.commit("loss", {"app/helpers.py": WAITING, "train.py": named})
    repository.commit("policy", {"syncwatch.toml": 'implicit = "log"\nranges."decode *" = "disallow"\n'})
    assert repository.gate().code == 1
    repository.commit("other range", {"train.py": named.replace("decode 3", "prefill")})
    assert repository.gate().code == 0


def test_a_target_may_leave_the_folder(repository: Repository) -> None:
    line = "return total.item()  # syncwatch: allow[SW101] the caller needs a number"
    leaving = f"import os\nos.chdir('/')\n{TRAIN}"
    repository.commit("leaves", {"train.py": leaving, "app/helpers.py": HELPERS.replace("return total", line)})
    ended = repository.gate("-o", "run.json", "--baseline", "known.jsonl", "--update-baseline")
    assert ended.code == 0, ended.err
    assert "the caller needs a number" in ended.out
    assert {"run.json", "known.jsonl"} <= set(os.listdir(repository.folder))


def test_two_gates_at_once_keep_each_others_entries(repository: Repository) -> None:
    targets = [f"train{number}.py" for number in range(3)]
    repository.commit("targets", {"app/helpers.py": WAITING, **dict.fromkeys(targets, TRAIN)})
    with ThreadPoolExecutor(len(targets)) as pool:
        ended = list(pool.map(lambda target: repository.gate("--update-baseline", target=target), targets))
    assert [each.code for each in ended] == [0, 0, 0], ended
    entries = (repository.folder / ".syncwatch-baseline.jsonl").read_text().splitlines()[1:]
    assert [json.loads(entry)["target"] for entry in entries] == targets
    assert [each for each in os.listdir(repository.folder) if "baseline" in each] == [".syncwatch-baseline.jsonl"]
    assert [repository.gate(target=target).code for target in targets] == [0, 0, 0]


@not_under_coverage
def test_what_could_not_be_measured_is_exit_3(repository: Repository) -> None:
    ended = repository.gate(device="cuda")
    assert (ended.code, ended.out) == (3, "")
    assert "There is no CUDA GPU here" in ended.err

    unreached = repository.gate("--require", "app.helpers:normal", "--require", "app.helpers:other")
    assert unreached.code == 3
    assert "app.helpers:other was required and never ran" in unreached.out
    assert "app.helpers:normal was required" not in unreached.out

    repository.commit("broken", {"app/helpers.py": HELPERS.replace("return total", "raise ValueError('out of luck')")})
    broken = repository.gate("--update-baseline")
    assert broken.code == 3
    assert "ValueError: out of luck" in broken.err
    assert not (repository.folder / ".syncwatch-baseline.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--max-syncs", "nan"), "greater than or equal to 0"),
        (("--require", "app.helpers"), "names no function"),
        (("--config", "gone.toml"), "gone.toml: No such file or directory"),
        (("--baseline", "gone.jsonl"), "--update-baseline"),
        (("--baseline", "no/where.jsonl", "--update-baseline"), "Make it first"),
    ],
)
def test_what_was_asked_wrongly_is_refused_before_the_run(
    repository: Repository, arguments: tuple[str, ...], words: str
) -> None:
    (repository.folder / "train.py").write_text("raise SystemExit('it ran')")
    ended = repository.gate(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err and "it ran" not in ended.err


def test_names_in_a_refusal_cannot_act_on_a_terminal(repository: Repository) -> None:
    (repository.folder / "syncwatch.toml").write_text('ranges."\\u001b[31m\\n::error::x" = 3')
    ended = repository.gate()
    assert ended.code == 2
    assert ended.err == "error: syncwatch.toml:1: ranges.\\x1b[31m\\n::error::x: expected `str`, got `int`.\n"


def test_a_saved_run_is_judged_as_it_was_recorded(repository: Repository) -> None:
    repository.commit("loss", {"app/helpers.py": WAITING})
    assert repository.gate("-o", "run.json").code == 1

    def saved(*more: str) -> Ended:
        return syncwatch("gate", "run.json", *more, cwd=repository.folder)

    assert saved().code == 1
    assert saved("--update-baseline").code == 0
    assert saved().code == 0
    assert repository.gate().code == 0

    refused = saved("--device", "cuda")
    assert refused.code == 2 and "is not run again" in refused.err
    required = saved("--require", "app.helpers:normal")
    assert required.code == 3 and "does not say which functions ran" in required.err


def test_the_candidate_of_a_scenario_is_judged() -> None:
    options = ("--device", "virtual", "--steps", "1", "--warmup", "0", "--format", "json")
    candidate = syncwatch("gate", "gdn-prefill", *options)
    naive = syncwatch("gate", "gdn-prefill", "--variant", "naive", *options)
    assert (candidate.code, naive.code) == (0, 1), candidate.err + naive.err
    assert json.loads(candidate.out)["verdict"]["variants"] == ["precomputed"]
    assert [each["name"] for each in json.loads(candidate.out)["variants"]] == ["precomputed"]
