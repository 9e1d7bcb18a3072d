"""The monitor in Lightning, in the Trainer of Transformers and in accelerate; skipped where one is missing."""

import json

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.utils.data import DataLoader, Dataset, TensorDataset  # noqa: E402

from lop_theory import watch  # noqa: E402
from tests.watch.nets import X, Y, mlp  # noqa: E402

SMALL = {"measures": ("churn",)}


def steps(monitor):
    return [found.step for found in monitor.records]


@pytest.mark.filterwarnings("ignore")
def test_lightning_logs_saves_goes_on_and_reports(tmp_path):
    lightning = pytest.importorskip("lightning")
    loggers = pytest.importorskip("lightning.pytorch.loggers")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = mlp()

        def training_step(self, batch, _):
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    def fit(epochs, checkpoint=None):
        callback = watch.lightning_watch(submodule="net", every=3, report=str(tmp_path / "a.html"), **SMALL)
        trainer = lightning.Trainer(
            max_epochs=epochs, callbacks=[callback], logger=loggers.CSVLogger(tmp_path), accelerator="cpu",
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, log_every_n_steps=1,
        )  # fmt: skip
        trainer.fit(Module(), DataLoader(TensorDataset(X, Y), batch_size=16), ckpt_path=checkpoint)
        trainer.logger.save()
        return callback.monitor, trainer

    monitor, trainer = fit(1)
    assert steps(monitor) == [3]
    assert monitor.records[0].layers["1"].samples == 16  # the training batch of that step
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again, other = fit(2, str(tmp_path / "last.ckpt"))
    assert steps(again) == [3, 6]
    assert (
        "plasticity/1/effective_rank"
        in (tmp_path / "lightning_logs").joinpath(f"version_{other.logger.version}", "metrics.csv").read_text()
    )
    assert "Layers over time" in (tmp_path / "a.html").read_text()


class Counting(Dataset):
    """Sequences that count upwards."""

    def __len__(self):
        return 32

    def __getitem__(self, index):
        ids = (index + torch.arange(8)) % 16
        return {"input_ids": ids, "labels": ids}


@pytest.mark.filterwarnings("ignore")
def test_the_trainer_logs_saves_goes_on_and_reports(tmp_path):
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")

    def fit(count, resume):
        config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=16, n_positions=8, vocab_size=16)
        callback = watch.trainer_watch(every=2, report=str(tmp_path / "a.html"), **SMALL)
        arguments = transformers.TrainingArguments(
            str(tmp_path), max_steps=count, per_device_train_batch_size=8, report_to=[], use_cpu=True,
            disable_tqdm=True, save_steps=3, logging_strategy="no",
        )  # fmt: skip
        trainer = transformers.Trainer(
            transformers.GPT2LMHeadModel(config), arguments, train_dataset=Counting(), callbacks=[callback]
        )
        trainer.train(resume_from_checkpoint=resume)
        return callback.monitor, trainer.state.log_history

    monitor, history = fit(3, resume=False)
    assert steps(monitor) == [2]
    (name,) = monitor.records[0].layers
    assert any(f"plasticity/{name}/effective_rank" in row for row in history)
    saved = json.loads((tmp_path / "checkpoint-3" / "plasticity.json").read_text())
    assert saved["steps"] == 3
    again, _ = fit(6, resume=True)
    assert steps(again) == [2, 4, 6]
    assert "Layers over time" in (tmp_path / "a.html").read_text()


@pytest.mark.filterwarnings("ignore")
def test_accelerate_counts_accumulated_steps_and_saves_the_history(tmp_path):
    accelerate = pytest.importorskip("accelerate")
    model = mlp()
    accelerator = accelerate.Accelerator(gradient_accumulation_steps=2, cpu=True)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    model, optimiser, loader = accelerator.prepare(
        model, optimiser, DataLoader(TensorDataset(X, Y), batch_size=8, shuffle=False)
    )
    with watch.watch_accelerated(accelerator, model, X, every=2, **SMALL) as monitor:
        for inputs, labels in loader:
            with accelerator.accumulate(model):
                accelerator.backward(nn.functional.cross_entropy(model(inputs), labels))
                optimiser.step()
                optimiser.zero_grad()
    assert (monitor.steps, steps(monitor)) == (4, [2, 4])
    accelerator.save_state(str(tmp_path))
    monitor.load_state_dict({"steps": 0, "records": []})
    accelerator.load_state(str(tmp_path))
    assert steps(monitor) == [2, 4]
