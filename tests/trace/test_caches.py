"""What a call leaves in plain attributes is gone afterwards; configurations are asked for no cache within."""

from collections import OrderedDict
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.trace.caches import attributes_kept, caches_off  # noqa: E402


def called(module):
    module.calls += 1
    module.fresh = 5
    module.table["b"] = 6
    module.seen.add(7)
    module.rows[:] = [8, 9]
    module.rows = None
    module.own["b"] = 2
    module.register_buffer("kept", torch.ones(1), persistent=False)
    module.eval()
    assert module.calls / 0


def test_attributes_and_tables_are_as_before_and_the_mode_as_the_call_leaves_it():
    model, table, inner = nn.Sequential(nn.Identity()), {"a": 1}, [2]
    own = OrderedDict(a=1)
    model[0].table, model[0].calls, model[0].seen, model[0].rows, model[0].own = table, 0, {3}, inner, own
    with pytest.raises(ZeroDivisionError), attributes_kept(model):
        called(model[0])
    attributes = {name: vars(model[0])[name] for name in ("table", "calls", "seen", "rows")}
    assert attributes == {"table": {"a": 1}, "calls": 0, "seen": {3}, "rows": [2]}
    assert model[0].table is table
    assert model[0].rows is inner
    assert not hasattr(model[0], "fresh")
    assert own == {"a": 1, "b": 2}  # what it does when it is filled again nobody knows
    assert not dict(model.named_buffers())
    assert not model[0]._non_persistent_buffers_set
    assert not model[0].training


def test_configurations_that_ask_for_a_cache_do_not_within_and_do_afterwards():
    model = nn.Sequential(*(nn.Identity() for _ in range(5)))
    shared, never, odd = (SimpleNamespace(use_cache=value) for value in (True, False, 1))
    for module, config in zip(model, (shared, shared, never, odd, SimpleNamespace()), strict=True):
        module.config = config
    with caches_off(model):
        assert [config.use_cache for config in (shared, never, odd)] == [False, False, 1]
    assert shared.use_cache is True
    with pytest.raises(ZeroDivisionError), caches_off(model):
        assert 1 / shared.use_cache
    assert shared.use_cache is True
    assert never.use_cache is False
    assert odd.use_cache == 1
    assert not hasattr(model[4].config, "use_cache")
