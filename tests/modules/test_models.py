"""The models of the experiments: their sizes as the papers count them, and what each block computes, written out."""

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from lop_theory.errors import InvalidInput  # noqa: E402
from lop_theory.modules.zoo import (  # noqa: E402
    TRANSFORMER,
    BasicBlock,
    Options,
    TokenBatchNorm,
    ViT,
    ViTBlock,
    cnn,
    mlp,
    normalise,
    resnet18,
)

PLAIN = Options("none")


def count(model):
    return sum(p.numel() for p in model.parameters())


def on_paper(make):
    """A model whose numbers are never drawn."""
    with torch.device("meta"):
        return make()


def kinds(model, kind):
    return [m for m in model.modules() if isinstance(m, kind)]


def test_the_mlp_has_five_layers_of_128_units():
    dense = 784 * 128 + 128 + 4 * (128 * 128 + 128) + 128 * 10 + 10
    assert count(on_paper(lambda: mlp(784, 10, options=PLAIN))) == dense
    normed = on_paper(lambda: mlp(784, 10))
    assert count(normed) == dense + 5 * 2 * 128
    assert [type(m) for m in normed[:5]] == [nn.Flatten, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]
    assert [m.p for m in kinds(normed, nn.Dropout)] == [0.0] * 5
    dropped = mlp(4, 2, hidden=(3, 5), options=Options("layer", nn.Tanh, dropout=0.25, affine=False))
    assert [type(m) for m in dropped] == [
        nn.Flatten, *[nn.Linear, nn.LayerNorm, nn.Tanh, nn.Dropout] * 2, nn.Linear
    ]  # fmt: skip
    assert [m.p for m in kinds(dropped, nn.Dropout)] == [0.25, 0.25]
    assert [m.normalized_shape for m in kinds(dropped, nn.LayerNorm)] == [(3,), (5,)]
    assert count(dropped) == 4 * 3 + 3 + 3 * 5 + 5 + 5 * 2 + 2


def test_the_cnn_has_three_convolutions_and_one_layer_of_512_units():
    maps = 9 * (3 * 64 + 64 * 128 + 128 * 256) + 64 + 128 + 256
    dense = 256 * 4 * 4 * 512 + 512 + 512 * 10 + 10
    assert count(on_paper(lambda: cnn((3, 32, 32), 10, options=PLAIN))) == maps + dense
    normed = on_paper(lambda: cnn((3, 32, 32), 10))
    assert count(normed) == maps + dense + 2 * (64 + 128 + 256 + 512)
    assert [type(m) for m in normed] == [
        *[nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.Dropout] * 3,
        nn.Flatten, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout, nn.Linear,
    ]  # fmt: skip
    image = torch.randn(2, 3, 8, 20)
    assert cnn((3, 8, 20), 4, channels=(2, 3), fully_connected=5)(image).shape == (2, 4)


@pytest.mark.parametrize(("options", "affine"), [(PLAIN, 0), (Options(), 4800 * 2)])
def test_the_residual_network_is_resnet18_for_small_images(options, affine):
    """11 173 962 parameters for ten classes, 9600 of them of the normalisations (all widths add up to 4800); without
    these every convolution has a bias."""
    model = on_paper(lambda: resnet18((3, 32, 32), 10, options=options))
    assert count(model) == 11173962 - 2 * 4800 + (affine or 4800)
    strides = [m.stride for m in kinds(model, nn.Conv2d)]
    assert [s for s in strides if s != (1, 1)] == [(2, 2)] * 6  # first convolution and shortcut of three stages
    assert len(kinds(model, nn.Conv2d)) == 1 + 16 + 3
    assert model(torch.randn(2, 3, 32, 32, device="meta")).shape == (2, 10)


def test_a_residual_block_written_out():
    torch.manual_seed(0)
    model = resnet18((2, 6, 6), 3, base=2, blocks=(1, 1), options=Options("batch", nn.Tanh, dropout=0.5)).eval()
    x = torch.randn(4, 2, 6, 6)
    h = torch.tanh(model[1](model[0](x)))
    for block, stride in ((model[3], 1), (model[4], 2)):
        assert (block.dropout.p, block.conv1.padding, block.conv2.padding) == (0.5, (1, 1), (1, 1))
        inner = torch.tanh(block.norm1(nn.functional.conv2d(h, block.conv1.weight, stride=stride, padding=1)))
        inner = block.norm2(nn.functional.conv2d(inner, block.conv2.weight, padding=1))
        same = isinstance(block.shortcut, nn.Identity)
        assert same == (stride == 1)
        short = h if same else block.shortcut[1](nn.functional.conv2d(h, block.shortcut[0].weight, stride=2))
        h = torch.tanh(inner + short)
    torch.testing.assert_close(model(x), model[-1](h.mean((2, 3))), rtol=1e-5, atol=1e-6)
    assert model[0](x).shape == (4, 2, 6, 6)


@pytest.mark.parametrize(("inputs", "units", "stride"), [(2, 3, 1), (2, 2, 2), (3, 3, 1)])
def test_a_shortcut_has_weights_where_shapes_change(inputs, units, stride):
    block = BasicBlock(inputs, units, stride, Options())
    assert block(torch.randn(2, inputs, 6, 6)).shape == (2, units, 6 // stride, 6 // stride)
    assert isinstance(block.shortcut, nn.Identity) == (inputs == units and stride == 1)


def test_the_transformer_has_the_sizes_of_the_paper():
    width, tokens = 384, 16 + 1
    block = 4 * width**2 + 4 * width + 2 * 4 * width**2 + 5 * width + 4 * width
    whole = 3 * 8 * 8 * width + width + width + tokens * width + 6 * block + 2 * width + width * 10 + 10
    model = on_paper(lambda: ViT((3, 32, 32), 10))
    assert count(model) == whole
    assert [b.attention.num_heads for b in model.blocks] == [6] * 6
    assert (TRANSFORMER.normalisation, TRANSFORMER.activation, TRANSFORMER.dropout) == ("layer", nn.GELU, 0.0)
    assert all(type(b.mlp[1]) is nn.GELU for b in model.blocks)
    assert on_paper(lambda: ViT((3, 16, 24), 4, patch=4, width=8, depth=1, heads=2)).positions.shape == (1, 25, 8)


@pytest.mark.parametrize("normalisation", ["none", "batch", "layer"])
def test_a_transformer_written_out(normalisation):
    torch.manual_seed(0)
    options = Options(normalisation, nn.Tanh, dropout=0.5)
    model = ViT((2, 4, 8), 3, patch=2, width=4, depth=1, heads=2, ratio=3, options=options).double().eval()
    block, x = model.blocks[0], torch.randn(3, 2, 4, 8, dtype=torch.float64)
    assert [m.p for m in (model.dropout, block.dropout, block.mlp[2])] == [0.5] * 3
    assert block.attention.dropout == 0.5
    patches = x.unfold(2, 2, 2).unfold(3, 2, 2).permute(0, 2, 3, 1, 4, 5).reshape(3, 8, 8)
    h = patches @ model.patches.weight.reshape(4, 8).T + model.patches.bias
    h = torch.cat([model.class_token.expand(3, 1, 4), h], 1) + model.positions
    n = block.norm1(h)
    q, k, v = (n @ block.attention.in_proj_weight.T + block.attention.in_proj_bias).chunk(3, -1)
    heads = []
    for part in (slice(0, 2), slice(2, 4)):
        weights = torch.softmax(q[..., part] @ k[..., part].transpose(1, 2) / 2**0.5, -1)
        heads.append(weights @ v[..., part])
    h = h + block.attention.out_proj(torch.cat(heads, -1))
    h = h + block.mlp[3](torch.tanh(block.mlp[0](block.norm2(h))))
    torch.testing.assert_close(model(x), model.head(model.norm(h)[:, 0]), rtol=1e-10, atol=1e-12)
    assert block.mlp[0].out_features == 12
    norms = {"none": nn.Identity, "batch": TokenBatchNorm, "layer": nn.LayerNorm}
    assert {type(m) for m in (block.norm1, block.norm2, model.norm)} == {norms[normalisation]}


def test_batch_normalisation_of_tokens_is_that_of_their_features():
    torch.manual_seed(0)
    model = ViT((2, 4, 4), 3, patch=2, width=4, depth=1, heads=2, options=Options("batch", affine=False)).double()
    assert not model.norm.norm.affine
    tokens = torch.randn(5, 7, 4, dtype=torch.float64)
    flat = tokens.reshape(35, 4)
    expected = (flat - flat.mean(0)) / (flat.var(0, correction=0) + 1e-5).sqrt()
    torch.testing.assert_close(model.norm(tokens).reshape(35, 4), expected, rtol=1e-10, atol=1e-12)


def test_starting_tokens_are_small_and_random():
    torch.manual_seed(0)
    model = ViT((2, 16, 16), 3, patch=1, width=16, depth=1, heads=2)
    for tensor in (model.class_token, model.positions):
        assert 0.01 < float(tensor.detach().std()) < 0.03
        assert tensor.requires_grad


@pytest.mark.parametrize("affine", [True, False])
def test_normalisations_by_name(affine):
    x, image = torch.randn(6, 4), torch.randn(3, 4, 5, 5)
    for name, dims, kind in (
        ("none", 1, nn.Identity), ("none", 2, nn.Identity), ("batch", 1, nn.BatchNorm1d), ("batch", 2, nn.BatchNorm2d),
        ("layer", 1, nn.LayerNorm), ("layer", 2, nn.GroupNorm),
    ):  # fmt: skip
        layer = normalise(Options(name, affine=affine), 4, dims)
        assert type(layer) is kind
        assert count(layer) == (8 if affine and name != "none" else 0)
        assert layer(x if dims == 1 else image).shape == (x if dims == 1 else image).shape
    whole = normalise(Options("layer", affine=affine), 4, 2)(image)
    rows = image.flatten(1)  # one group over C × H × W
    expected = (rows - rows.mean(1, keepdim=True)) / (rows.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(whole.flatten(1), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(InvalidInput, match=r"normalisation.*none, batch, layer"):
        normalise(Options("other"), 4, 1)


def test_the_block_of_a_transformer_treats_samples_alone():
    torch.manual_seed(0)
    block, x = ViTBlock(4, 2, 2, TRANSFORMER).eval(), torch.randn(5, 3, 4)
    torch.testing.assert_close(block(x)[2:3], block(x[2:3]), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(block(x[:, :2]), block(x)[:, :2], atol=1e-4)  # tokens see each other


def test_tokens_and_positions_are_drawn_small():
    torch.manual_seed(0)
    model = ViT((1, 16, 16), 2, patch=1, width=64, depth=0)
    for p in (model.positions, model.class_token):
        assert 0.015 < float(p.detach().std()) < 0.025
