"""Transformers that were widened compress to their bases: heads, tied tables, experts."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules import certify, compress, detect, expand, expansion  # noqa: E402


def gpt2(layers=1):
    config = transformers.GPT2Config(
        n_layer=layers, n_embd=12, n_head=3, n_inner=20, vocab_size=23, n_positions=16, bos_token_id=0, eos_token_id=0
    )
    return transformers.GPT2LMHeadModel(config)


def llama():
    config = transformers.LlamaConfig(
        num_hidden_layers=1, hidden_size=16, intermediate_size=20, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=23, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def mixtral():
    """Experts by grouped products, the default."""
    config = transformers.MixtralConfig(
        num_hidden_layers=1, hidden_size=16, intermediate_size=24, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=23, num_local_experts=3, num_experts_per_tok=2, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return transformers.MixtralForCausalLM(config)


@pytest.mark.parametrize("build", [gpt2, llama])
def test_widened_language_models_compress_to_their_bases_heads_and_tied_tables_too(build):
    torch.manual_seed(0)
    base, ids = build().eval(), torch.randint(0, 23, (3, 6))
    wide = expand(base, 2, example_input={"input_ids": ids})
    small = compress(wide, detect(wide, {"input_ids": ids}))
    assert type(small.model) is type(base)
    assert small.scaled == {}
    sizes = [[tuple(p.shape) for p in model.parameters()] for model in (small.model, base)]
    assert sizes[0] == sizes[1]
    other = torch.randint(0, 23, (2, 9))
    torch.testing.assert_close(small.model(other).logits, base(other).logits, rtol=1e-4, atol=1e-6)
    assert certify(wide, base=small.model, example_input={"input_ids": ids})
    with pytest.raises(InvalidInput):
        expansion(small.model)


def test_the_experts_of_a_mixture_grow_and_shrink_and_one_that_is_off_is_caught():
    torch.manual_seed(0)
    base, ids = mixtral().eval(), {"input_ids": torch.randint(0, 23, (3, 6))}
    wide = expand(base, 2, example_input=ids)
    assert expansion(wide).own_class
    experts = "model.layers.0.mlp.experts.gate_up_proj"
    assert expansion(wide).widened[experts] == ((3, 48, 16), (3, 96, 32))
    assert certify(wide, base=base, example_input=ids)
    small = compress(wide, detect(wide, ids)).model
    assert [tuple(p.shape) for p in small.parameters()] == [tuple(p.shape) for p in base.parameters()]
    with torch.no_grad():
        wide.get_parameter(experts)[2, 5] *= 1.02
    assert certify(wide, example_input=ids).witness.module == "model.layers.0.mlp.experts"


def test_one_head_and_the_units_of_one_layer_go_alone():
    torch.manual_seed(0)
    model, ids = gpt2(2).eval(), {"input_ids": torch.randint(0, 23, (3, 6))}
    first, second = model.transformer.h
    with torch.no_grad():
        for part in range(3):  # queries, keys, values: head 1 as head 0
            units = slice(12 * part, 12 * part + 4), slice(12 * part + 4, 12 * part + 8)
            for tensor in (first.attn.c_attn.weight, first.attn.c_attn.bias):
                tensor[..., units[1]] = tensor[..., units[0]]
        second.mlp.c_fc.weight[:, 7], second.mlp.c_fc.bias[7] = second.mlp.c_fc.weight[:, 2], second.mlp.c_fc.bias[2]
    small = compress(model, detect(model, ids))
    assert small.removed["transformer.h.1.mlp.c_fc"] == (7,)
    assert small.removed["transformer.h.0.attn.c_attn"] == (4, 5, 6, 7, 16, 17, 18, 19, 28, 29, 30, 31)
    assert [h.attn.c_attn.nf for h in small.model.transformer.h] == [24, 36]
    other = torch.randint(0, 23, (2, 9))
    torch.testing.assert_close(small.model(other).logits, model(other).logits, rtol=1e-4, atol=1e-6)
