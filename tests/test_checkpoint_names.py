"""A checkpoint gives every weight back, whatever the names of the model's weights are on the Hub."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_hub_vlm_recipe
import test_vit_recipe
import torch
from test_hub_vlm_recipe import recipe_of, root  # noqa: F401  (fixtures)

from narrator.records import NarratorError
from trainer.run import Run, Silent
from trainer.stages import StageTrainer


@pytest.fixture(params=["vit", *test_hub_vlm_recipe.NAMES])
def trainer(request: pytest.FixtureRequest, tiny: Path, tmp_path: Path,
            recipe_of: Callable[..., Any]) -> StageTrainer:  # noqa: F811
    """Over all weights of a tiny model, before the first step."""
    recipe = test_vit_recipe.recipe_of(tiny, tmp_path) if request.param == "vit" else recipe_of(request.param)
    stage, model = recipe.config.stages[0], recipe.prepare()[0]
    run = Run(folder=tmp_path, config=recipe.config, recipe=recipe, dev={}, events=Silent(), device=recipe.device)
    return StageTrainer(run, stage, model, recipe.dataset(stage, model, lambda done, total: None))


def forget(model: torch.nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()


def test_every_weight_comes_back(trainer: StageTrainer, tmp_path: Path) -> None:
    kept = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    trainer.save_model(str(tmp_path / "checkpoint"))
    forget(trainer.model)
    trainer._load_from_checkpoint(str(tmp_path / "checkpoint"))
    torch.testing.assert_close(dict(trainer.model.state_dict()), kept, rtol=0, atol=0)

    forget(trainer.model)
    trainer.state.best_model_checkpoint = str(tmp_path / "checkpoint")
    trainer._load_best_model()
    torch.testing.assert_close(dict(trainer.model.state_dict()), kept, rtol=0, atol=0)

    loaded = trainer.run_.recipe.load(tmp_path / "checkpoint")
    torch.testing.assert_close(dict(loaded.state_dict()), kept, rtol=0, atol=0)


def test_a_checkpoint_that_does_not_fit_is_refused(trainer: StageTrainer, tmp_path: Path) -> None:
    trainer.model.save_pretrained(tmp_path / "checkpoint", save_original_format=False,
                                  state_dict={f"other.{name}": torch.zeros(1) for name in trainer.model.state_dict()})
    with pytest.raises(NarratorError, match=r"does not fit the model: \d+ tensors are missing and \d+ unknown"):
        trainer._load_from_checkpoint(str(tmp_path / "checkpoint"))
