"""Continual backprop in Lightning: what ``configure_optimizers`` returns. Run:
``python examples/trainers/lightning_module.py``."""

import lightning
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from lop_theory.optim import ContinualBackprop
from lop_theory.optim.continual_backprop import Settings


class Classifier(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))
        self.replaced = 0

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        inner = torch.optim.AdamW(self.net.parameters(), lr=1e-2)
        settings = Settings(rate=1e-2, maturity=10)
        return ContinualBackprop(inner, self.net, example_input=torch.randn(2, 8), settings=settings)

    def on_train_batch_end(self, *_: object) -> None:
        self.replaced += sum(map(len, self.optimizers().optimizer.replaced))


def main(folder: str | None = None) -> int:
    """Train, and go on from Lightning's own checkpoint; the number of units that were replaced."""
    torch.manual_seed(0)
    x = torch.randn(256, 8)
    data = DataLoader(TensorDataset(x, x[:, :3].argmax(1)), batch_size=32, shuffle=True)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    model = Classifier()
    trainer = lightning.Trainer(max_epochs=3, enable_checkpointing=False, **quiet)
    trainer.fit(model, data)
    if folder is not None:
        trainer.save_checkpoint(f"{folder}/last.ckpt")
        again = lightning.Trainer(max_epochs=4, enable_checkpointing=False, **quiet)
        again.fit(model, data, ckpt_path=f"{folder}/last.ckpt")
    return model.replaced


if __name__ == "__main__":
    print(f"{main()} units replaced")
