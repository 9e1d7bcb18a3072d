"""Which optional extra brings a package that a command needs and does not find."""

_EXTRA = {
    "torch": "torch",
    "safetensors": "torch",
    "networkx": "graph",
    "matplotlib": "figures",
    "PIL": "figures",
    "numba": "experiments",
    "tyro": "experiments",
    "typing_extensions": "experiments",
    "pyarrow": "watch",
    "rich": "watch",
    "ray": "cluster",
    "tensorboard": "trackers",
    "wandb": "trackers",
    "mlflow": "mlflow",
    "hypothesis": "strategies",
    "latex2mathml": "report",
    "transformers": "trainers",
    "lightning": "trainers",
    "accelerate": "trainers",
    "gymnasium": "trainers",
}


def remedy(package: str) -> str | None:
    """The install line for the extra that has the package; ``None`` if no extra of ours does."""
    extra = _EXTRA.get(package.partition(".")[0])
    return None if extra is None else f"pip install 'lop-theory[{extra}]'"
