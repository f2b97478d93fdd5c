# SPDX-License-Identifier: Apache-2.0
"""The LightningModule: runs clips through the network frame by frame, with the memory of the previous frames."""

from __future__ import annotations

from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor

from seqpose_core.geometry import make_transform
from seqpose_core.losses.criterion import Criterion
from seqpose_core.losses.targets import Targets
from seqpose_core.metrics.errors import match_detections
from seqpose_core.model.denoising import DenoisingQueries
from seqpose_core.model.memory import QueryMemory
from seqpose_core.model.pose_head import ObjectPrediction
from seqpose_core.model.projection import Pinhole
from seqpose_core.model.seqpose import Prediction, SeqPose
from train.fit.config import TrainConfig
from train.fit.distributed import average_count, gather_items
from train.fit.initial_weights import freeze
from train.fit.optimizer import make_optimizer
from train.fit.streaming_memory import StreamingMemory


class SeqPoseModule(lightning.LightningModule):
    """Trains a SeqPose model on batches of clips (see train.data.clips for the tensors of a batch)."""

    def __init__(self, config: TrainConfig) -> None:
        super().__init__()
        self.config = config
        self.model = SeqPose(config.model)
        freeze(self.model, config.frozen_parts)
        self.criterion = Criterion(config.criterion, config.model.canonical_focal, average_count)
        self.encode, self.decode = self.model.encode, self.model.decode
        if config.compute.compile:
            self.encode, self.decode = torch.compile(self.encode), torch.compile(self.decode)
        self._streaming = any(stage.streaming for stage in config.stages)
        self._streaming_memory = StreamingMemory()
        self._results: list[dict[str, np.ndarray]] = []

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        """Mean loss over the frames of the clips."""
        # Random numbers depend on seed and step only, so a resumed run draws the same ones.
        torch.manual_seed(_seed(self.config.seed, self.global_step, index, self.global_rank))
        predictions, memory = self.run_clips(batch, self._streaming_memory.select(batch), denoise=True)
        if self._streaming:
            self._streaming_memory.store(batch, memory)
        total = self.model.image_size.new_zeros(())
        sums: dict[str, Tensor] = {}
        for frame, prediction in enumerate(predictions):
            targets = Targets.at_frame(batch, frame)
            pinhole = Pinhole(batch["intrinsics"][:, frame], self.model.image_size)
            loss, terms = self.criterion(prediction, targets, pinhole)
            total = total + loss / len(predictions)
            for name, value in terms.items():
                sums[name] = sums.get(name, value.new_zeros(())) + value.detach() / len(predictions)
        self.log("train/loss", total.detach(), prog_bar=True, sync_dist=True)
        self.log_dict({f"train/{name}": value for name, value in sums.items()})
        return total

    def run_clips(
        self, batch: dict[str, Tensor], memory: QueryMemory | None = None, denoise: bool = False
    ) -> tuple[list[Prediction], QueryMemory]:
        """The predictions for every frame of (B, T, ...) clips, and the memory after the last frame.

        All frames are encoded at once; the query network then runs frame by frame. No gradient passes from a frame to
        the previous one unless ``gradient_through_window`` is set.

        :param memory: memory before the first frame; None = empty.
        :param denoise: whether noised ground-truth queries are appended, if the configuration has denoising groups.
        """
        groups = self.config.model.queries.denoising if denoise else 0
        images, intrinsics = batch["image"], batch["intrinsics"]
        clips, frames = images.shape[:2]
        pixels = images.flatten(0, 1).to(self.model.pixel_mean.dtype) / 255
        if self.config.precision.endswith("-mixed"):  # convolutions in half precision are faster with channels last
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        features = self.encode(pixels, intrinsics.flatten(0, 1))
        memory = self.model.empty_memory(clips) if memory is None else memory
        predictions = []
        for frame in range(frames):
            denoising = None
            if groups:
                targets = Targets.at_frame(batch, frame)
                denoising = DenoisingQueries.sample(
                    targets.classes, targets.translation, targets.size, groups, len(self.model.config.categories)
                )
            indices = torch.arange(clips, device=images.device) * frames + frame  # of this frame in the encoded batch
            prediction, memory = self.decode(
                features.select(indices),
                intrinsics[:, frame],
                memory,
                batch["camera_pose"][:, frame],
                batch["stamp"][:, frame],
                denoising,
            )
            if not self.config.gradient_through_window:
                memory = memory.detach()
            predictions.append(prediction)
        return predictions, memory

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        """Collects the predictions and ground truth of the last frame of every clip."""
        prediction = self.run_clips(batch)[0][-1].objects
        self._results += nocs_results(prediction, Targets.at_frame(batch, batch["image"].shape[1] - 1))

    def on_validation_epoch_end(self) -> None:
        """Recalls over all ground-truth objects in percent: matched by category and nearest centre, score above 0.1."""
        errors = match_detections(
            gather_items(self._results), min_score=0.1, radius=0.3, categories=self.model.config.categories
        )
        self._results.clear()
        degrees, centimetres = errors.degrees, errors.centimetres  # NaN for missed objects
        recalls = {
            "val/recall_10deg10cm": np.mean(errors.within(10.0, 10.0)),
            "val/recall_5deg5cm": np.mean(errors.within(5.0, 5.0)),
            "val/recall_10cm": np.mean(errors.within(360.0, 10.0)),
        }
        self.log_dict({name: 100.0 * float(value) for name, value in recalls.items()}, prog_bar=True, sync_dist=True)
        if np.isfinite(degrees).any():
            medians = {"val/median_deg": np.nanmedian(degrees), "val/median_cm": np.nanmedian(centimetres)}
            self.log_dict(medians, sync_dist=True)

    def configure_optimizers(self) -> Any:
        """AdamW with a schedule of linear warm-up and cosine per step."""
        optimizer, schedule = make_optimizer(self.model, self.config.optimizer, self.config.max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["streaming_memory"] = self._streaming_memory.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._streaming_memory.load_state_dict(
            checkpoint.get("streaming_memory", {}), self.global_rank, self.trainer.world_size
        )


def _seed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0]) >> 1


def nocs_results(prediction: ObjectPrediction, targets: Targets) -> list[dict[str, np.ndarray]]:
    """One NOCS result (see seqpose_core.metrics.nocs) per sample; a query is assigned its best-scoring category."""
    score, category = prediction.logits.sigmoid().max(-1)
    predicted = _boxes(prediction.rotation, prediction.translation, prediction.size)
    ground_truth = _boxes(targets.rotation, targets.translation, targets.size)
    results = []
    for sample, present in enumerate(targets.present.cpu().numpy()):
        results.append(
            {
                "gt_class_ids": targets.classes[sample].cpu().numpy()[present] + 1,
                "gt_RTs": ground_truth[0][sample][present],
                "gt_scales": ground_truth[1][sample][present],
                "gt_handle_visibility": (~targets.symmetric[sample]).cpu().numpy()[present].astype(int),
                "pred_class_ids": category[sample].cpu().numpy() + 1,
                "pred_RTs": predicted[0][sample],
                "pred_scales": predicted[1][sample],
                "pred_scores": score[sample].double().cpu().numpy(),
            }
        )
    return results


def _boxes(rotation: Tensor, translation: Tensor, size: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """NOCS transforms (B, Q, 4, 4), scaled by the box diagonal, and extents (B, Q, 3) over the diagonal."""
    diagonal = size.norm(dim=-1, keepdim=True)
    transforms = make_transform((rotation * diagonal[..., None]).cpu().numpy(), translation.cpu().numpy())
    return transforms, (size / diagonal).double().cpu().numpy()
