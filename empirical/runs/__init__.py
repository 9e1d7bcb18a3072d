"""Carrying out runs, here or elsewhere, and keeping their records.

A run is a frozen configuration; its id is the first 16 hexadecimal digits of SHA-256(canonical JSON of it), which is
the name of its folder: a run is carried out once, and goes on where it stopped. Rows and checkpoints are committed
together, so that a kill at any moment loses training time only.

Reading order: store (records that have ended) → shards (many of them in few files) → live (a run under way: how it
resumes) → run (carry out a group) → local, cluster (where) → view (what the screen shows) → saved (records by
configuration) → statistics (over seeds) → control (when a comparison says anything) → measured (a claim that rests on
records) → checks, execution (options that all experiments have) → command (reads a command line) → trackers
(TensorBoard, Weights & Biases) → report (what every experiment's command does).
"""

from typing import TYPE_CHECKING

from empirical.runs.execution import Execution
from lop_theory.lazy import lazily

if TYPE_CHECKING:
    from empirical.runs.command import read, writable_folder
    from empirical.runs.live import Busy, LiveRecord, state_of
    from empirical.runs.report import run_experiment
    from empirical.runs.run import Advance, Experiment, Job, Outcome, carry_out
    from empirical.runs.saved import Group, group_of, groups
    from empirical.runs.statistics import Effect, effect, first, last, windowed
    from empirical.runs.store import Record, finished, id_of, records, run_id

__all__ = [
    "Advance",
    "Busy",
    "Effect",
    "Execution",
    "Experiment",
    "Group",
    "Job",
    "LiveRecord",
    "Outcome",
    "Record",
    "carry_out",
    "effect",
    "finished",
    "first",
    "group_of",
    "groups",
    "id_of",
    "last",
    "read",
    "records",
    "run_experiment",
    "run_id",
    "state_of",
    "windowed",
    "writable_folder",
]

_HOMES = {
    **dict.fromkeys(("read", "writable_folder"), "command"),
    **dict.fromkeys(("Busy", "LiveRecord", "state_of"), "live"),
    "run_experiment": "report",
    **dict.fromkeys(("Advance", "Experiment", "Job", "Outcome", "carry_out"), "run"),
    **dict.fromkeys(("Group", "group_of", "groups"), "saved"),
    **dict.fromkeys(("Effect", "effect", "first", "last", "windowed"), "statistics"),
    **dict.fromkeys(("Record", "finished", "id_of", "records", "run_id"), "store"),
}
__getattr__ = lazily(__name__, _HOMES)
