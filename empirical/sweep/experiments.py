"""Experiments by name, imported when they are used."""

from importlib import import_module

from empirical.runs.run import Experiment


def experiment_named(name: str) -> Experiment:
    """What carries out the runs of this name."""
    found = import_module(f"empirical.{name}.simulation").EXPERIMENT
    assert isinstance(found, Experiment)
    return found
