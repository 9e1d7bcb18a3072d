"""ReDo in the Trainer of Transformers, on a GPT-2 from its config: the first of ``optimizers``. Run:
``python examples/trainers/transformers_trainer.py``."""

import tempfile

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from lop_theory.optim import ReDo

LENGTH, WORDS = 8, 32


class Counting(Dataset[dict[str, torch.Tensor]]):
    """Sequences that count upwards."""

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        ids = (index + torch.arange(LENGTH)) % WORDS
        return {"input_ids": ids, "labels": ids}


def main() -> tuple[float, int]:
    """The last loss, and the number of units that were replaced."""
    torch.manual_seed(0)
    config = GPT2Config(n_layer=1, n_head=2, n_embd=16, n_positions=LENGTH, vocab_size=WORDS)
    model = GPT2LMHeadModel(config)
    inner = torch.optim.AdamW(model.parameters(), lr=1e-2)
    optimiser = ReDo(inner, model, example_input={"input_ids": torch.zeros(2, LENGTH, dtype=torch.long)}, period=10)
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.bias[:4] = -100.0  # four dormant units
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder, max_steps=10, per_device_train_batch_size=8, report_to=[], use_cpu=True, disable_tqdm=True,
            save_strategy="no", logging_strategy="no",
        )  # fmt: skip
        loss = Trainer(model, arguments, train_dataset=Counting(), optimizers=(optimiser, None)).train().training_loss
    return loss, sum(map(len, optimiser.replaced))


if __name__ == "__main__":
    print("mean loss {:.2f}, {} units replaced".format(*main()))
