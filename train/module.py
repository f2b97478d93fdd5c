# SPDX-License-Identifier: Apache-2.0
"""The LightningModule: a clip goes through the network frame by frame, the memory carried along."""

from __future__ import annotations

import math
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from seqpose_core.geometry import make_transform
from seqpose_core.losses.criterion import Criterion
from seqpose_core.losses.targets import Targets
from seqpose_core.metrics.errors import detect
from seqpose_core.model.memory import QueryMemory
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.seqpose import Prediction, SeqPose
from train.config import TrainConfig


class SeqPoseModule(lightning.LightningModule):
    """Trains a SeqPose on batches of clips (see train.data.clips for their entries)."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.model = SeqPose(config.model)
        self.criterion = Criterion(config.criterion, config.model.canonical_focal)
        self._results: list[dict[str, np.ndarray]] = []

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
                batch["camera_pose"][:, frame], batch["stamp"][:, frame],
            )  # fmt: skip
            if not self.config.gradient_through_window:
                memory = memory.detach()
            predictions.append(prediction)
        return predictions

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Collects what was found in the last frame of every clip."""
        prediction = self.run_clips(batch)[-1].objects
        self._results += nocs_results(prediction, Targets.at_frame(batch, batch["image"].shape[1] - 1))

    def on_validation_epoch_end(self) -> None:
        """Recalls over all true objects, percent: matched by category and nearest centre, score above 0.1."""
        found = detect(self._results, min_score=0.1, radius=0.3)
        self._results.clear()
        degrees, centimetres = found.degrees, found.centimetres  # NaN, which no threshold admits, for a miss
        recalls = {
            "val/recall_10deg10cm": np.mean((degrees <= 10) & (centimetres <= 10)),
            "val/recall_5deg5cm": np.mean((degrees <= 5) & (centimetres <= 5)),
            "val/recall_10cm": np.mean(centimetres <= 10),
        }
        self.log_dict({name: 100.0 * float(value) for name, value in recalls.items()}, prog_bar=True)
        if np.isfinite(degrees).any():
            self.log_dict({"val/median_deg": np.nanmedian(degrees), "val/median_cm": np.nanmedian(centimetres)})

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


def nocs_results(prediction: ObjectPrediction, targets: Targets) -> list[dict[str, np.ndarray]]:
    """One NOCS result (see seqpose_core.metrics.nocs) a sample; a query counts for its best category."""
    score, found = prediction.logits.sigmoid().max(-1)
    predicted = _boxes(prediction.rotation, prediction.translation, prediction.size)
    true = _boxes(targets.rotation, targets.translation, targets.size)
    results = []
    for sample, present in enumerate(targets.present.cpu().numpy()):
        results.append(
            {
                "gt_class_ids": targets.classes[sample].cpu().numpy()[present] + 1,
                "gt_RTs": true[0][sample][present],
                "gt_scales": true[1][sample][present],
                "gt_handle_visibility": (~targets.symmetric[sample]).cpu().numpy()[present].astype(int),
                "pred_class_ids": found[sample].cpu().numpy() + 1,
                "pred_RTs": predicted[0][sample],
                "pred_scales": predicted[1][sample],
                "pred_scores": score[sample].double().cpu().numpy(),
            }
        )
    return results


def _boxes(rotation: Tensor, translation: Tensor, size: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """NOCS transforms (B, Q, 4, 4), the box diagonal as their scale, and extents (B, Q, 3) of unit diagonal."""
    diagonal = size.norm(dim=-1, keepdim=True)
    transforms = make_transform((rotation * diagonal[..., None]).cpu().numpy(), translation.cpu().numpy())
    return transforms, (size / diagonal).double().cpu().numpy()
