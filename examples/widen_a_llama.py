"""Widen a small Llama into an exact clone of itself, certify it, train it; nothing is downloaded.

Run: ``python examples/widen_a_llama.py``.
"""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from lop_theory.modules import certify, expand, expansion


def main() -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=100, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    llama, words = LlamaForCausalLM(config).eval(), {"input_ids": torch.randint(0, 100, (4, 12))}
    clone = expand(llama, 2, example_input=words)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (llama, clone)]
    print(f"{type(clone).__name__}: {sizes[0]:,} -> {sizes[1]:,} parameters")
    longer = torch.randint(0, 100, (3, 20))
    gap = (clone(longer).logits - llama(longer).logits).detach().abs().max()
    print(f"other lengths:  largest difference of the logits {float(gap):.1e}")
    print("certified:     ", certify(clone, base=llama, example_input=words))
    optimiser = torch.optim.SGD(clone.parameters(), 0.1)
    for _ in range(10):
        optimiser.zero_grad()
        clone(**words, labels=words["input_ids"]).loss.backward()
        optimiser.step()
    print("after training:", certify(clone, example_input=words, optimizer=optimiser))
    with torch.no_grad():
        clone.model.layers[0].mlp.up_proj.weight[0] *= 1.01
    print("one unit 1% off:", certify(clone, example_input=words))
    print("what stayed narrow:", dict(expansion(clone).narrow))


if __name__ == "__main__":
    main()
