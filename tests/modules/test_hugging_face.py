"""Models that nobody here wrote, built from config without downloads: ResNet, ConvNeXt, MobileNetV2, ViT, BERT,
GPT-2."""

import logging

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
from torch import nn  # noqa: E402

from lop_theory.modules import certify, detect, expand  # noqa: E402
from lop_theory.trace import state_of  # noqa: E402
from lop_theory.verdict import Fails  # noqa: E402
from tests.modules.nets import restored  # noqa: E402

logging.getLogger("transformers").setLevel(logging.ERROR)
IMAGES = torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
WORDS = torch.randint(0, 20, (2, 6), generator=torch.Generator().manual_seed(0))


def resnet(k=1):
    config = transformers.ResNetConfig(
        embedding_size=4 * k, hidden_sizes=[4 * k, 8 * k], depths=[1, 1], layer_type="basic", num_labels=3
    )
    return transformers.ResNetForImageClassification(config), IMAGES


def convnext(k=1):
    config = transformers.ConvNextConfig(
        num_stages=2,
        hidden_sizes=[4 * k, 8 * k],
        depths=[1, 1],
        num_labels=3,
        image_size=32,
        layer_scale_init_value=0.5,
    )
    return transformers.ConvNextForImageClassification(config), IMAGES


def vit(k=1, heads=None):
    config = transformers.ViTConfig(
        hidden_size=8 * k,
        num_hidden_layers=1,
        num_attention_heads=heads or 2 * k,
        intermediate_size=12 * k,
        image_size=32,
        patch_size=16,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return transformers.ViTForImageClassification(config), IMAGES


def bert(k=1, heads=None):
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=8 * k,
        num_hidden_layers=1,
        num_attention_heads=heads or 2 * k,
        intermediate_size=12 * k,
        max_position_embeddings=16,
        num_labels=3,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return transformers.BertForSequenceClassification(config), WORDS


def gpt2(k=1, heads=None):
    config = transformers.GPT2Config(
        vocab_size=20,
        n_embd=8 * k,
        n_layer=1,
        n_head=heads or 2 * k,
        n_positions=16,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=None,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    return transformers.GPT2LMHeadModel(config), WORDS


BUILDERS = {"resnet": resnet, "convnext": convnext, "vit": vit, "bert": bert, "gpt2": gpt2}
TRANSFORMERS = {"vit": vit, "bert": bert, "gpt2": gpt2}


def train(model, batch, steps=5):
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        (model(batch).logits ** 2).mean().backward()
        optimiser.step()


@pytest.fixture(scope="module")
def pairs():
    """Bases and their clones, made and traced once; put back by those who train them."""
    made = {}

    def pair(name, jitter):
        if name not in made:
            torch.manual_seed(0)
            base, batch = BUILDERS[name]()
            jitter(base, 0.1).eval()
            made[name] = base, expand(base, 2, example_input=batch), batch
        return made[name]

    return pair


@pytest.mark.claim("composition")
@pytest.mark.parametrize("name", BUILDERS)
def test_widened_certified_trained_and_found_again(name, pairs, jitter):
    base, clone, batch = pairs(name, jitter)
    verdict = certify(clone, base=base, example_input=batch)
    assert verdict, verdict
    with restored(clone):
        train(clone.train(), batch)
        assert certify(clone, example_input=batch)
        layers = detect(clone.eval(), batch).layers
    assert len(layers) >= 4
    assert all(layer.cloned == layer.moving for layer in layers)
    assert "trapped" in {block.kind for layer in layers for block in layer.verdicts}


@pytest.mark.claim("base-network")
@pytest.mark.parametrize("name", ["resnet", "convnext", "vit", "bert"])
def test_the_state_loads_into_the_same_class_built_wider(name, pairs, jitter):
    """An oracle that shares no code with ours: the library's own wide model with our weights computes the base's
    function."""
    base, clone, batch = pairs(name, jitter)
    wide = BUILDERS[name](2)[0].double().eval()
    wide.load_state_dict(clone.state_dict())
    torch.testing.assert_close(wide(batch).logits, base(batch).logits, rtol=0, atol=1e-12)
    assert certify(wide, base=base, example_input=batch)  # the profile is inferred from the sizes


@pytest.mark.claim("coverage")
@pytest.mark.parametrize("name", ["vit", "bert"])
def test_wider_heads_with_the_scale_folded_into_the_queries(name, pairs, jitter):
    base, _, batch = pairs(name, jitter)
    clone = expand(base, 2, example_input=batch, attention="width")
    assert certify(clone, base=base, example_input=batch)
    wide = TRANSFORMERS[name](2, heads=2)[0].double().eval()
    wide.load_state_dict(clone.state_dict())
    torch.testing.assert_close(wide(batch).logits, base(batch).logits, rtol=0, atol=1e-12)


@pytest.mark.claim("coverage")
@pytest.mark.parametrize("factor", [2, 3])
def test_naive_attention_widening_is_off_by_the_square_root_of_the_factor(factor, pairs, jitter):
    """Tiled weights with a fixed head count: a clone (MC1–MC3 hold), but of a base whose logits are sqrt(factor)
    times larger."""
    base, _, batch = pairs("vit", jitter)
    naive = expand(base, factor, example_input=batch, attention="uncorrected")
    assert certify(naive, example_input=batch)
    verdict = certify(naive, base=base, example_input=batch)
    assert isinstance(verdict, Fails)
    assert verdict.witness.module == "vit.layers.0.attention"
    assert verdict.witness.node == "scaled_dot_product_attention"
    hot, _ = vit()
    hot.double().eval()
    hot.load_state_dict(base.state_dict())
    with torch.no_grad():
        for layer in hot.vit.layers:
            layer.attention.q_proj.weight.mul_(factor**0.5)
            layer.attention.q_proj.bias.mul_(factor**0.5)
    torch.testing.assert_close(naive(batch).logits, hot(batch).logits, rtol=0, atol=1e-12)
    assert float((naive(batch).logits - base(batch).logits).abs().max()) > 1e-6


@pytest.mark.parametrize("name", ["gpt2", "bert"])
def test_tied_and_fused_weights_under_every_widening(name, pairs, jitter):
    """GPT-2 reads one embedding as a table and as the output layer: the activation is rescaled instead of the
    weight."""
    base, _, batch = pairs(name, jitter)
    for attention in ("heads", "width"):
        clone = expand(base, 3, example_input=batch, attention=attention, redistribute=1)
        assert certify(clone, base=base, example_input=batch)
    if name == "gpt2":
        assert state_of(clone)["lm_head.weight"] is state_of(clone)["transformer.wte.weight"]


def test_other_batch_sizes_and_keyword_inputs(jitter):
    base, batch = bert()
    jitter(base, 0.1).eval()
    inputs = {"input_ids": batch, "attention_mask": torch.ones_like(batch)}
    clone = expand(base, 2, example_input=inputs)
    larger = {key: value.repeat(3, 1) for key, value in inputs.items()}
    torch.testing.assert_close(clone(**larger).logits, base(**larger).logits, rtol=0, atol=1e-12)


def test_expanding_leaves_the_base_as_it_was():
    base, batch = resnet()
    base.double().train()
    before = {k: v.clone() for k, v in base.state_dict().items()}
    random = torch.get_rng_state()
    clone = expand(base, 2, example_input=batch)
    certify(clone, base=base, example_input=batch)
    assert base.training
    assert all(torch.equal(v, before[k]) for k, v in base.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert isinstance(clone, nn.Module)
