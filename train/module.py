# SPDX-License-Identifier: Apache-2.0
"""The LightningModule: a clip goes through the network frame by frame, the memory carried along."""

from __future__ import annotations

import math
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from seqpose_core.geometry import rotation_error
from seqpose_core.losses.criterion import Criterion
from seqpose_core.losses.targets import Targets
from seqpose_core.model.memory import QueryMemory
from seqpose_core.model.seqpose import Prediction, SeqPose
from train.config import TrainConfig


class SeqPoseModule(lightning.LightningModule):
    """Trains a SeqPose on batches of clips (see train.data.clips for their entries)."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.model = SeqPose(config.model)
        self.criterion = Criterion(config.criterion, config.model.canonical_focal)
        self._errors: list[tuple[np.ndarray, ...]] = []

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Mean loss over the frames of the clips."""
        predictions = self.run_clips(batch)
        total = self.model.image_size.new_zeros(())
        sums: dict[str, Tensor] = {}
        for frame, prediction in enumerate(predictions):
            targets = Targets.at_frame(batch, frame)
            loss, terms = self.criterion(
                prediction, targets, batch["intrinsics"][:, frame], self.model.image_size
            )
            total = total + loss / len(predictions)
            for name, value in terms.items():
                sums[name] = sums.get(name, value.new_zeros(())) + value.detach() / len(predictions)
        self.log("train/loss", total.detach(), prog_bar=True)
        self.log_dict({f"train/{name}": value for name, value in sums.items()})
        return total

    def run_clips(self, batch: dict[str, Tensor]) -> list[Prediction]:
        """The predictions of every frame of (B, T, ...) clips.

        All frames are encoded at once; the query network then walks through time. Unless the whole window is
        trained, no gradient passes from a frame into the one before it.
        """
        images, intrinsics = batch["image"], batch["intrinsics"]
        clips, frames = images.shape[:2]
        features = self.model.encode(images.flatten(0, 1).float() / 255, intrinsics.flatten(0, 1))
        memory: QueryMemory | None = None
        predictions = []
        for frame in range(frames):
            at_frame = torch.arange(clips, device=images.device) * frames + frame
            prediction, memory = self.model.decode(
                features.sample(at_frame), intrinsics[:, frame], memory,
                self._poses(batch, frame), batch["stamp"][:, frame],
            )  # fmt: skip
            if not self.config.gradient_through_window:
                memory = memory.detach()
            predictions.append(prediction)
        return predictions

    def _poses(self, batch: dict[str, Tensor], frame: int) -> Tensor:
        """Camera poses, hidden from part of the clips in training, so that the network works without as well."""
        poses = batch["camera_pose"][:, frame]
        if not self.training or self.config.hide_ego_motion == 0:
            return poses
        # Decided by the clip's first pose: a clip is hidden in all of its frames or in none.
        key = batch["camera_pose"][:, 0, 0, 3].double()
        draw = (key * 1e4).frac().abs()
        return torch.where((draw < self.config.hide_ego_motion)[:, None, None], torch.nan, poses)

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Collects, for every true object of every clip's last frame, the errors of its best-scored find."""
        prediction = self.run_clips(batch)[-1].objects
        targets = Targets.at_frame(batch, batch["image"].shape[1] - 1)
        score, found = prediction.logits.sigmoid().max(-1)
        for sample in range(len(score)):
            self._errors.append(
                _object_errors(
                    *(x[sample].cpu().numpy() for x in (score, found, prediction.translation, prediction.rotation)),
                    *(
                        x[sample].cpu().numpy()
                        for x in (targets.classes, targets.translation, targets.rotation, targets.symmetric)
                    ),
                )
            )

    def on_validation_epoch_end(self) -> None:
        """Recalls over all true objects, percent: matched by category and nearest centre, score above 0.1."""
        degrees, centimetres = (np.concatenate(column) for column in zip(*self._errors, strict=True))
        self._errors.clear()
        found = np.isfinite(degrees)
        recalls = {
            "val/recall_10deg10cm": np.mean((degrees <= 10) & (centimetres <= 10)),
            "val/recall_5deg5cm": np.mean((degrees <= 5) & (centimetres <= 5)),
            "val/recall_10cm": np.mean(centimetres <= 10),
        }
        self.log_dict({name: 100.0 * float(value) for name, value in recalls.items()}, prog_bar=True)
        self.log("val/median_deg", float(np.median(degrees[found])) if found.any() else 180.0)
        self.log("val/median_cm", float(np.median(centimetres[found])) if found.any() else 1000.0)

    def configure_optimizers(self) -> Any:
        """AdamW with warm-up and cosine; no decay on biases, norms and embeddings; its own rate for the encoder."""
        optimizer = self.config.optimizer
        groups: dict[tuple[bool, bool], list[Tensor]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                decays = parameter.dim() > 1 and "embedding" not in name and "position" not in name
                groups.setdefault((name.startswith("encoder."), decays), []).append(parameter)
        adamw = torch.optim.AdamW(
            [
                {
                    "params": parameters,
                    "lr": optimizer.learning_rate * (optimizer.encoder_rate if encoder else 1.0),
                    "weight_decay": optimizer.weight_decay if decays else 0.0,
                }
                for (encoder, decays), parameters in groups.items()
            ],
            betas=(0.9, optimizer.beta2),
        )
        steps, warmup = self.config.max_steps, optimizer.warmup_steps

        def rate(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            progress = min(1.0, (step - warmup) / max(1, steps - warmup))
            return optimizer.final_rate + (1 - optimizer.final_rate) * 0.5 * (1 + math.cos(math.pi * progress))

        schedule = torch.optim.lr_scheduler.LambdaLR(adamw, rate)
        return {"optimizer": adamw, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _object_errors(
    score: np.ndarray,
    found: np.ndarray,
    translation: np.ndarray,
    rotation: np.ndarray,
    classes: np.ndarray,
    true_translation: np.ndarray,
    true_rotation: np.ndarray,
    symmetric: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (degrees) and translation (cm) errors of the true objects of one frame; infinite for a miss.

    Queries (Q, ...) are taken greedily, best score first, each by the nearest free object of its category.
    """
    present = classes >= 0
    degrees, centimetres = np.full(len(classes), np.inf), np.full(len(classes), np.inf)
    free = present.copy()
    for query in np.argsort(-score):
        candidates = np.flatnonzero(free & (classes == found[query]))
        if score[query] < 0.1 or not len(candidates):
            continue
        distance = np.linalg.norm(true_translation[candidates] - translation[query], axis=1)
        nearest = candidates[distance.argmin()]
        if distance.min() > 0.3:
            continue
        free[nearest] = False
        centimetres[nearest] = 100 * distance.min()
        degrees[nearest] = np.degrees(
            rotation_error(rotation[query], true_rotation[nearest], symmetric[nearest])
        )
    return degrees[present], centimetres[present]
