"""The monitor: counts optimiser steps, and at every so many measures, warns and tells.

Between logged steps it costs one addition a step. One step before a logged one it takes the weights and the predictions
on the probe, for what one step changes. Nothing is left in the model: no hook, no buffer, no compiled code is touched,
gradients, buffers, modes and random streams are as before.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lop_theory.cli import writable, write_whole
from lop_theory.errors import InvalidInput
from lop_theory.optim import Found, find_units
from lop_theory.optim.layer import Layer as Units
from lop_theory.watch.control import Control, Fit, fresh_control
from lop_theory.watch.measurement import GROUPS, SLOW, Before, Occasion, before, record
from lop_theory.watch.optimiser_facts import facts_of
from lop_theory.watch.probe import Loss, Probe, as_probe, call_as_inputs, measuring, on_device, unwrapped
from lop_theory.watch.record import Alarm, Record, invalid_state, record_of
from lop_theory.watch.sinks import Guarded, Listener, Sink
from lop_theory.watch.steps import StepHook


class Monitor:
    """Watches the plasticity of ``model`` while it trains.

    ``example_input``: the probe, a batch on which everything is measured (a tensor, a tuple of inputs, a dict of
    keyword inputs), or a function that returns the present one; without it the inputs of the training pass of a logged
    step are used. ``loss(output)``: a scalar, or better one loss a sample; without it the output's own ``loss``, and
    without that no curvature and no gain bound. ``every``: optimiser steps between records. ``optimizer``: the one
    whose steps count (default: the first that steps a parameter of the model inside the ``with`` block).
    ``measures``: a subset of :data:`~lop_theory.watch.measurement.GROUPS`; ``slow``: those that cost many passes
    (``"tangents"``, ``"curvature"``) are taken at the first record and every so many. ``sinks``: where records go
    (:mod:`lop_theory.watch.sinks`); a path is a file of JSON lines or Parquet.

    Use it as a context manager, or call :meth:`step` after every optimiser step. ``records`` is the history. Under
    ``torch.distributed`` every process measures on the probes of all, so that all have the same numbers; the first one
    writes. Raises ``InvalidInput``.
    """

    def __init__(  # noqa: PLR0913 - options of one call, each with a default
        self,
        model: nn.Module,
        example_input: Any = None,
        *,
        every: int = 500,
        loss: Loss | None = None,
        optimizer: Optimizer | None = None,
        measures: Iterable[str] = GROUPS,
        slow: int = 8,
        sinks: Sequence[Sink | str | Path] = (),
    ) -> None:
        self.model, self.every, self.groups = unwrapped(model), _positive("every", every), _groups(measures)
        self.slow = _positive("slow", slow)
        self.records: list[Record] = []
        self.controls: list[Control] = []
        self.steps = 0
        self._said: set[str] = set()
        self._loss, self._optimizer = loss, optimizer
        self._facts = facts_of(optimizer)
        self._source: Callable[[], Any] | None = example_input if callable(example_input) else None
        self._moving = example_input is None or self._source is not None
        self._probe: Probe | None = None
        if not self._moving:
            self.set_probe(example_input)
        self._found: Found | None = None
        self._untraced = ""
        self._before: Before | None = None
        self._hook: StepHook | None = None
        self._taking: Any = None  # handle of the hook that takes the inputs of a training pass
        self._taken: Any = None
        self._called = model
        self._sinks = [Guarded.of(sink) for sink in sinks] if _first_process() else []

    # ---- running ----

    def __enter__(self) -> "Monitor":
        if self._hook is None:
            self._hook = StepHook(self.model, self._optimizer, self._stepped)
            self._prepare()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Count no more steps; close the sinks. What was measured stays."""
        if self._hook is not None:
            self._hook.detach()
            self._hook = None
        self._drop_hook()
        for sink in self._sinks:
            sink.close()

    def _stepped(self, optimiser: Optimizer) -> None:
        if self._optimizer is None:
            self._facts = facts_of(optimiser)
        self._count()

    def step(self) -> Record | None:
        """Call after every optimiser step, if the monitor is not a context manager; the record of a logged step."""
        if self._hook is not None:
            return None  # inside ``with`` the optimiser's own hook counts
        return self._count()

    def _count(self) -> Record | None:
        """Whatever goes wrong while measuring is said and does not stop the run."""
        self.steps += 1
        try:
            found = self._measure(self._due()) if self.steps % self.every == 0 else None
            self._prepare()
        except Exception as error:
            self._say(f"step {self.steps} not measured: {type(error).__name__}: {' '.join(str(error).split())}")
            return None
        return found

    def _say(self, line: str) -> None:
        """Once."""
        if line.partition(": ")[2] not in self._said:
            self._said.add(line.partition(": ")[2])
            print(f"watch: {line}", file=sys.stderr)

    def _prepare(self) -> None:
        """One step before a logged one: what the step will change, or the inputs that it will see."""
        if (self.steps + 1) % self.every:
            return
        if self._moving and self._source is None:
            self._take_inputs()
        known = None if self._moving or self._probe is None else self._placed(self._probe)
        self._before = before(self.model, known, self.groups)

    def _due(self) -> frozenset[str]:
        """The groups of this record."""
        whole = (self.steps // self.every - 1) % self.slow == 0
        return self.groups if whole else self.groups - SLOW

    def measure(self) -> Record:
        """A record of the present step, now, with everything in it."""
        return self._measure(self.groups)

    def _measure(self, groups: frozenset[str]) -> Record:
        probe = self._present()
        found = record(
            Occasion(
                model=self.model,
                probe=probe,
                step=self.steps,
                facts=self._facts,
                groups=groups,
                units=self._traced(probe),
                before=self._before,
                last=self.records[-1] if self.records else None,
            )
        )
        self._before = None
        if self._untraced:
            found = found._replace(notes=(*found.notes, self._untraced))
        self._share(found)
        return found

    def _share(self, found: Record) -> None:
        self.records.append(found)
        for sink in self._sinks:
            sink.log(found)

    def tell(self, listener: Callable[[Record], None]) -> None:
        """Call it with every new record, on the first process."""
        if _first_process():
            self._sinks.append(Guarded(Listener(listener)))

    # ---- the probe ----

    def set_probe(self, example_input: Any) -> None:
        """Measure on these inputs from now on. Raises ``InvalidInput``."""
        self._before = None
        self._probe = as_probe(example_input, self._loss)

    def _present(self) -> Probe:
        self._drop_hook()
        inputs = self._taken if self._source is None else self._source()
        if self._moving and inputs is not None:
            self.set_probe(inputs)
            self._taken = None
        if self._probe is None:
            raise InvalidInput("example_input", None, "is not given, and no training pass was seen", "give a batch")
        return self._placed(self._probe)

    def _placed(self, probe: Probe) -> Probe:
        return probe._replace(inputs=on_device(probe.inputs, self.model))

    def _take_inputs(self) -> None:
        """Until the logged step, remember what the model was called with."""

        def take(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if torch.is_grad_enabled():
                self._taken = call_as_inputs(self.model, args, kwargs)

        self._taking = self._called.register_forward_pre_hook(take, with_kwargs=True)

    def _drop_hook(self) -> None:
        if self._taking is not None:
            self._taking.remove()
            self._taking = None

    def _traced(self, probe: Probe) -> tuple[Units, ...]:
        """The units of the traced graph, found once; none, and a note, where the model cannot be traced."""
        if self._found is None and "pairs" in self.groups:
            try:
                with measuring(self.model):
                    self._found = find_units(self.model, probe.inputs)
            except Exception as error:
                self._found = Found((), {})
                reason = " ".join(str(error).split())[:200]
                self._untraced = f"not traced, watched as far as hooks reach (no clone distances): {reason}"
        return tuple(Units(self.model, u) for u in self._found.units) if self._found is not None else ()

    # ---- afterwards ----

    def control(self, make_model: Callable[[], nn.Module], fit: Fit | None = None) -> Control:
        """The same measurements on a freshly made model; with ``fit``, its result for a copy of the trained model and
        for the fresh one (a loss after some steps on new data, say): is it the model that lost plasticity, or is the
        task hard? The report shows it beside the run."""
        probe = self._present()
        found = fresh_control(self.model, make_model, probe, self.steps, fit)
        self.controls.append(found)
        return found

    def alarms(self, *kinds: str) -> tuple[Alarm, ...]:
        """Those of the last record (of some kinds)."""
        found = self.records[-1].alarms if self.records else ()
        return tuple(alarm for alarm in found if not kinds or alarm.kind in kinds)

    def report(self, path: str | Path) -> None:
        """One self-contained HTML page. Raises ``InvalidInput`` if it cannot be written."""
        from lop_theory.watch.page import History, report_page

        size = sum(p.numel() for p in self.model.parameters())
        name = type(self.model).__name__
        history = History(name, size, self.steps, self.every, self.records, self.controls)
        write_whole(writable("path", str(path)), report_page(history).encode())

    def try_report(self, path: str | Path) -> None:
        """The same at the end of someone else's loop: what goes wrong is said."""
        self._try(lambda: self.report(path))

    def try_write(self, path: Path, text: str) -> None:
        """Write a file whole; what goes wrong is said."""
        self._try(lambda: write_whole(path, text.encode()))

    def _try(self, action: Callable[[], None]) -> None:
        try:
            action()
        except InvalidInput as error:
            self._say(f"not written: {error}")

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, texts, lists and dictionaries: ``torch.load(weights_only=True)`` reads it."""
        return {"steps": self.steps, "records": [found.as_json() for found in self.records]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on as the saved monitor; sinks drop what they hold of later steps. Raises ``InvalidInput``."""
        try:
            steps, saved = int(state["steps"]), list(state["records"])
        except (KeyError, TypeError, ValueError) as error:
            raise invalid_state(error) from None
        records = [record_of(one) for one in saved]
        self.steps, self.records = steps, records
        self._before = None
        self._prepare()


def _positive(name: str, count: int) -> int:
    if not (isinstance(count, Real) and count >= 1 and count % 1 == 0):
        raise InvalidInput(name, count, "must be a whole number, at least 1")
    return count


def _groups(measures: Iterable[str]) -> frozenset[str]:
    found = frozenset(measures)
    if not found <= set(GROUPS):
        raise InvalidInput("measures", sorted(found - set(GROUPS)), f"must be among {', '.join(GROUPS)}")
    return found


def _first_process() -> bool:
    ready = torch.distributed.is_available() and torch.distributed.is_initialized()
    return not ready or torch.distributed.get_rank() == 0
