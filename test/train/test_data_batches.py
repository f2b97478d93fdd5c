# SPDX-License-Identifier: Apache-2.0
"""Batches: a function of seed and step, uniform over clips, frames and sets, for any number of processes."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nocs_tree import write_tree

from train.data import NocsClips, NocsLayout, Stage, StepSampler, make_loader
from train.data.augment import Augmentation
from train.data.clips import ClipSample
from train.data.order import proportional_counts


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("nocs")
    write_tree(root, clips=3, frames=4)
    return root


STAGES = [Stage(5, 1, 4), Stage(9, 3, 2)]


def test_batches_depend_on_seed_and_step_only() -> None:
    lengths = [4, 4, 5, 4, 6]
    full = list(StepSampler(lengths, STAGES, seed=3))
    assert len(full) == 9 and [len(batch) for batch in full] == [4] * 5 + [2] * 4
    assert list(StepSampler(lengths, STAGES, seed=3, start_step=6)) == full[6:]
    assert StepSampler(lengths, STAGES, seed=3).batch(7) == full[7]
    assert list(StepSampler(lengths, STAGES, seed=4)) != full


def test_every_clip_and_every_frame_is_seen_equally() -> None:
    sampler = StepSampler([4] * 7, [Stage(4 * 7, 1, 3)], seed=1)  # 84 samples = 12 epochs of 7 clips
    seen: dict[tuple[int, int], int] = {}
    for sample in (sample for batch in sampler for sample in batch):
        seen[sample.clip, sample.frames[0]] = seen.get((sample.clip, sample.frames[0]), 0) + 1
    assert set(seen.values()) == {3} and len(seen) == 28


def test_frames_are_consecutive_in_either_direction_and_short_clips_are_left_out() -> None:
    sampler = StepSampler([2, 6, 9], [Stage(200, 3, 1)], seed=2)
    steps = set()
    for (sample,) in sampler:
        steps.add(tuple(np.diff(sample.frames)))
        assert sample.clip != 0 and min(sample.frames) >= 0 and max(sample.frames) < [2, 6, 9][sample.clip]
    assert steps == {(1, 1), (-1, -1)}


@pytest.mark.parametrize("stages", [[], [Stage(3, 1, 1), Stage(3, 1, 1)], [Stage(3, 7, 1)]])
def test_impossible_stages_are_refused(stages: list[Stage]) -> None:
    with pytest.raises(ValueError, match=r"stage|Stage"):
        StepSampler([4, 4], stages)


@pytest.mark.parametrize("values", [{}, {"until_step": 3, "epochs": 1}, {"epochs": 0}, {"epochs": 1, "clip_length": 0}])
def test_a_stage_has_one_end_and_at_least_one_frame(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"give one|at least one frame"):
        Stage(**values)


def test_epochs_are_converted_to_steps_by_the_number_of_windows() -> None:
    # 600 and 10 frames are 610 windows of one frame, or 150 + 2 of four.
    sampler = StepSampler([600, 10], [Stage(epochs=2, batch_clips=16), Stage(epochs=1, clip_length=4, batch_clips=8)])
    assert [stage.until_step for stage in sampler.stages] == [77, 77 + 19]
    assert len(list(sampler)) == 96


def test_every_frame_is_seen_once_per_epoch_with_short_clips_spread_evenly() -> None:
    samples = [sample for batch in StepSampler([90, 10], [Stage(50, 1, 2)], seed=3) for sample in batch]
    assert len({(sample.clip, sample.frames) for sample in samples}) == 100
    # About one of the short clip's ten frames is in each tenth of the epoch.
    positions = [position for position, sample in enumerate(samples) if sample.clip == 1]
    assert [abs(position - 10 * tenth - 5) <= 6 for tenth, position in enumerate(positions)] == [True] * 10


def test_sets_are_mixed_by_weight_independent_of_their_size() -> None:
    sets = [0] * 20 + [1] * 2
    sampler = StepSampler([5] * 22, [Stage(440, 1, 1)], set_of_clip=sets, weights=[3.0, 1.0], seed=1)
    clips = [batch[0].clip for batch in sampler]
    counts = Counter(sets[clip] for clip in clips)
    assert abs(counts[0] / counts[1] - 3) < 0.1
    window = [sum(sets[clip] for clip in clips[first : first + 20]) for first in range(0, 420, 20)]
    assert min(window) >= 3 and max(window) <= 7
    # Within a set all frames are seen equally often, to one pass.
    seen = Counter((batch[0].clip, batch[0].frames) for batch in sampler if sets[batch[0].clip])
    assert len(seen) == 10 and max(seen.values()) - min(seen.values()) <= 1


def test_proportional_counts_are_integers_with_the_given_sum() -> None:
    assert proportional_counts(10, [1, 1, 1]) in ([4, 3, 3], [3, 4, 3], [3, 3, 4])
    assert proportional_counts(100, [3, 1]) == [75, 25] and proportional_counts(5, [1e-9, 1.0]) == [1, 5]


@pytest.mark.parametrize("streaming", [False, True])
def test_processes_split_the_batches_of_a_single_process(streaming: bool) -> None:
    stages = [Stage(6, 2, 4, streaming=streaming)]
    full = list(StepSampler([8] * 9, stages, seed=2))
    parts = [list(StepSampler([8] * 9, stages, seed=2, process=(rank, 2))) for rank in range(2)]
    assert [first + second for first, second in zip(*parts, strict=True)] == full
    with pytest.raises(ValueError, match="must divide into 3 processes"):
        StepSampler([8] * 9, stages, process=(0, 3))


def test_accumulated_parts_make_up_the_batch() -> None:
    full, parts = (list(StepSampler([4] * 9, [Stage(3, 1, 4)], accumulate=k)) for k in (1, 2))
    assert [parts[2 * step] + parts[2 * step + 1] for step in range(3)] == full


def test_a_walk_goes_through_each_clip_in_order_and_resets_where_a_clip_starts() -> None:
    lengths = [7, 4, 10, 5, 6]  # pieces of two frames: 3 + 2 + 5 + 2 + 3 = 15, seven and a half per stream
    sampler = StepSampler(lengths, [Stage(14, 2, 2, streaming=True)], seed=4)
    seen: Counter[tuple[int, ...]] = Counter()
    for place in range(2):
        walk = [batch[place] for batch in sampler]
        for step, sample in enumerate(walk):
            seen[(sample.clip, *sample.frames)] += 1
            assert sample.reset_memory == (sample.frames[0] == 0 or step % 7 == 0)
            if not sample.reset_memory:
                before = walk[step - 1]
                assert (before.clip, before.seed) == (sample.clip, sample.seed)
                assert sample.frames == tuple(frame + 2 for frame in before.frames)
    assert max(seen.values()) == 2  # two epochs
    assert sum(seen.values()) == 28 and len(seen) >= 14
    assert list(StepSampler(lengths, sampler.stages, seed=4, start_step=9)) == list(sampler)[9:]


def test_walk_segments_cover_every_frame_once_per_epoch_in_random_order_with_their_own_seed() -> None:
    lengths = [300, 210, 30]  # the last is shorter than a segment
    stage = Stage(epochs=2, batch_clips=4, streaming=True, walk_frames=(40, 80))
    sampler = StepSampler(lengths, [stage], seed=1)
    batches = list(sampler)
    for epoch in (batches[:135], batches[135:]):
        assert Counter((s.clip, *s.frames) for batch in epoch for s in batch) == {
            (clip, frame): 1 for clip, length in enumerate(lengths) for frame in range(length)
        }
        sequence = [batch[stream] for stream in range(4) for batch in epoch]
        segments: dict[int, list[tuple[int, int]]] = {}
        for sample in sequence:
            segments.setdefault(sample.seed, []).append((sample.clip, sample.frames[0]))
        for frames in segments.values():
            clip, first = frames[0]
            assert frames == [(clip, first + k) for k in range(len(frames))]
            assert 40 <= len(frames) <= 80 or clip == 2
        starts = {(clip, first) for (clip, first), *_ in segments.values()}
        assert len(starts) > 3 + 4 and [s for s, *_ in segments.values()] != sorted(starts)
        # The memory is reset where a segment starts and at the start of the four streams, nowhere else.
        resets = {(s.clip, s.frames[0]) for s in sequence if s.reset_memory}
        assert resets == starts | {(s.clip, s.frames[0]) for s in epoch[0]}
    assert list(StepSampler(lengths, [stage], seed=1, start_step=150)) == batches[150:]


def test_random_resets_have_the_configured_rate_and_change_nothing_else() -> None:
    plain, reset = (
        [s for batch in StepSampler([1000] * 4, [Stage(500, 1, 8, streaming=True, reset_rate=r)]) for s in batch]
        for r in (0.0, 0.25)
    )
    assert [s._replace(reset_memory=False) for s in reset] == [s._replace(reset_memory=False) for s in plain]
    # 4,000 draws: the standard deviation of the rate is 0.007.
    assert sum(s.reset_memory for s in plain) <= 4 + 8
    assert abs(sum(s.reset_memory for s in reset) / 4000 - 0.25) < 0.03


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"reset_rate": 0.1}, "streaming stages only"),
        ({"streaming": True, "reset_rate": 1.5}, "reset_rate is 1.5; it must be in 0..1"),
        ({"streaming": True, "walk_frames": (40, 60)}, "at least twice the minimum"),
        ({"streaming": True, "walk_frames": (2, 8), "clip_length": 4}, "at least clip_length 4"),
    ],
)
def test_walk_settings_without_effect_or_out_of_range_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stage(**{"until_step": 10, **values})


def test_pieces_of_a_walk_share_geometry_and_colour_but_not_noise(tree: Path) -> None:
    clips = NocsClips([NocsLayout.open(tree, "train")], augmentation=Augmentation(hide_pose=0))
    first, second, again = (clips[ClipSample(0, (1,), 11, piece, False)] for piece in (0, 1, 1))
    assert torch.equal(first["intrinsics"], second["intrinsics"]) and torch.equal(first["nocs"], second["nocs"])
    assert not torch.equal(first["image"], second["image"]) and torch.equal(second["image"], again["image"])


def test_backwards_clips_have_ascending_stamps_of_the_same_spacing(tree: Path) -> None:
    clips = NocsClips([NocsLayout.open(tree, "train")])
    forth, back = clips[ClipSample(0, (0, 1, 2), 0)], clips[ClipSample(0, (2, 1, 0), 0)]
    assert torch.equal(back["image"], forth["image"].flip(0))
    assert (back["stamp"].diff() > 0).all()
    assert torch.allclose(back["stamp"].diff(), forth["stamp"].diff().flip(0))


def test_loader_gives_the_same_batches_from_any_start_and_any_number_of_workers(tree: Path) -> None:
    clips = NocsClips([NocsLayout.open(tree, "train")], augmentation=Augmentation())
    full = list(make_loader(clips, StepSampler(clips.clip_lengths, STAGES, seed=5), workers=0))
    resumed = list(make_loader(clips, StepSampler(clips.clip_lengths, STAGES, seed=5, start_step=4), workers=1))
    assert len(resumed) == 5
    for first, second in zip(islice(full, 4, None), resumed, strict=True):
        for key in ("broken", "left_out"):
            assert first.pop(key) == second.pop(key) == []
        for key in first:
            assert torch.equal(first[key].nan_to_num(7), second[key].nan_to_num(7)), key
