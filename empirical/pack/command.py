"""``python -m empirical pack RUNS ARCHIVE`` makes one file of a folder of runs, ``unpack ARCHIVE RUNS`` merges it;
``compact RUNS`` makes few files of many, in place."""

import sys
from pathlib import Path

from empirical.pack.archive import fitting, packed, runs_in, unpacked
from empirical.pack.compaction import compact as compacted
from empirical.pack.compaction import loosen
from empirical.pack.merging import merge, refused
from empirical.runs.command import writable_folder
from lop_theory.cli import NOT_CERTIFIED, OK, Parser, write_whole
from lop_theory.errors import InvalidInput

MEGABYTE = 1e6
DEFAULT_LIMIT = 40.0


def main(arguments: list[str]) -> int:
    """Exit code 0, or 1 if the limit left runs out, or runs are damaged: one of those would have the whole archive
    refused where it is unpacked, and the machine with the others may be gone by then."""
    parser = Parser(prog="python -m empirical pack", description="One archive of a folder of runs, and no larger.")
    parser.add_argument("runs", metavar="RUNS", help="the folder (--out of the runs)")
    parser.add_argument("archive", metavar="ARCHIVE", help="the file that is written")
    parser.add_argument("--limit", type=float, default=DEFAULT_LIMIT, metavar="MB", help="at most so many megabytes")
    options = parser.parse_args(arguments)
    if not 0 < options.limit < float("inf"):
        raise InvalidInput("limit", options.limit, "must be positive megabytes")
    found = runs_in(Path(options.runs))
    if not found:
        raise InvalidInput("runs", options.runs, "has no run that ended or is interrupted", "give --out of the runs")
    bad = refused(found)
    taken, left = fitting([run for run in found if run.place not in bad], options.limit * MEGABYTE)
    body = packed(taken)
    write_whole(Path(options.archive), body)
    ended = sum(run.ended for run in taken)
    print(f"{options.archive}: {ended} records, {len(taken) - ended} checkpoints, {len(body) / MEGABYTE:.3f} MB")
    for run in left:
        print(f"left out by --limit: {run.place} ({run.size / MEGABYTE:.3f} MB)", file=sys.stderr)
    for place, why in bad.items():
        print(f"left out, for it {why}: {place}", file=sys.stderr)
    return NOT_CERTIFIED if left or bad else OK


def unpack(arguments: list[str]) -> int:
    """Exit code 0, or 1 if a run is here with other data, or held."""
    parser = Parser(prog="python -m empirical unpack", description="Merge the runs of an archive into a folder.")
    parser.add_argument("archive", metavar="ARCHIVE", help="what pack wrote")
    parser.add_argument("runs", metavar="RUNS", help="the folder (--out of the runs)")
    options = parser.parse_args(arguments)
    found = merge(unpacked(Path(options.archive)), writable_folder("runs", options.runs))
    print(f"{options.runs}: {len(found.new)} runs new or further, {len(found.same)} here before")
    for conflict in found.conflicts:
        print(f"conflict: {conflict}", file=sys.stderr)
    return NOT_CERTIFIED if found.conflicts else OK


def compact(arguments: list[str]) -> int:
    """Exit code 0, or 1 if a record is damaged or differs from its shard's."""
    parser = Parser(prog="python -m empirical compact", description="Finished runs into 16 files an experiment.")
    parser.add_argument("runs", metavar="RUNS", help="the folder (--out of the runs)")
    parser.add_argument("--undo", action="store_true", help="every run in a folder of its own again")
    options = parser.parse_args(arguments)
    root = Path(options.runs)
    if options.undo:
        print(f"{root}: {loosen(root):,} runs are folders again")
        return OK
    found = compacted(root)
    print(f"{root}: {len(found.moved):,} runs moved into shards, {len(found.staying):,} stay folders (failed or held)")
    for problem in found.problems:
        print(f"left: {problem}", file=sys.stderr)
    return NOT_CERTIFIED if found.problems else OK
