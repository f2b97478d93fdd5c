# SPDX-License-Identifier: Apache-2.0
"""Stability measures on synthetic sequences with known noise, gaps and identities."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from seqpose_core.metrics.calibration import coverage
from seqpose_core.metrics.stability import SequenceFrame, associate, jitter, stability
from seqpose_core.objects import ObjectPose


def pose(centre, instance, category="camera", rotation=None, covariance=None):
    return ObjectPose(
        category=category,
        score=1.0,
        rotation=np.eye(3) if rotation is None else rotation,
        translation=np.asarray(centre, dtype=float),
        size=np.array([0.1, 0.1, 0.1]),
        covariance=np.eye(6) * 1e-4 if covariance is None else covariance,
        track_id=instance,
    )


def sequence(ids, hidden=(), step=0.1):
    """One object; ``ids``: its track number in each frame, None for a frame in which it is missed."""
    return [
        SequenceFrame(
            stamp=step * k,
            estimates=[] if track is None else [pose((0, 0, 1), track)],
            ground_truths=[pose((0, 0, 1), 7)],
            hidden=frozenset([7]) if k in hidden else frozenset(),
        )
        for k, track in enumerate(ids)
    ]


def test_jitter_is_the_standard_deviation_of_independent_noise():
    rng = np.random.default_rng(0)
    poses = np.tile(np.eye(4), (4000, 1, 1))
    poses[:, :3, 3] = 0.002 * rng.normal(size=(4000, 3))
    poses[:, :3, :3] = Rotation.from_rotvec(0.01 * rng.normal(size=(4000, 3))).as_matrix()
    found = jitter(poses, symmetric=False)
    assert found.translation == pytest.approx(0.002 * np.sqrt(3), rel=0.03)
    assert found.rotation == pytest.approx(0.01 * np.sqrt(3), rel=0.03)
    assert found.samples == 3999
    # Rotation about y is free for a symmetric object: two of the three components remain.
    assert jitter(poses, symmetric=True).rotation == pytest.approx(0.01 * np.sqrt(2), rel=0.03)


def test_a_constant_error_under_a_moving_camera_is_no_jitter():
    frames = []
    for k in range(6):
        rotation = Rotation.from_rotvec([0.1 * k, 0.2 * k, 0]).as_matrix()
        offset = np.array([0.02, 0.01, 0.0])  # in the object's frame
        centre = np.array([0.05 * k, 0, 1 + 0.1 * k])
        frames.append(
            SequenceFrame(
                0.1 * k,
                [pose(centre + rotation @ offset, 1, rotation=rotation)],
                [pose(centre, 7, rotation=rotation)],
            )
        )
    found = stability(frames).jitter
    assert found["all"].translation == pytest.approx(0, abs=1e-12)
    assert found["camera"].rotation == pytest.approx(0, abs=1e-12)
    assert found["camera"].samples == 5


def test_alternating_shift_has_its_amplitude():
    frames = [SequenceFrame(0.1 * k, [pose((0.01 * (-1) ** k, 0, 1), 1)], [pose((0, 0, 1), 7)]) for k in range(5)]
    # Steps of 2 cm, over √2.
    assert stability(frames).jitter["all"].translation == pytest.approx(0.02 / np.sqrt(2))


def test_identity_switches_are_counted_once_each():
    report = stability(sequence([None, 3, 3, None, 3, 4, 4, 3]))
    assert report.identity_switches == 2
    assert report.tracked == 6


def test_time_to_first_detection_starts_when_the_object_is_first_visible():
    report = stability(sequence([None, None, None, 5, 5], hidden=(0,)))
    (first,) = report.first_detections
    assert (first.instance, first.seconds) == (7, pytest.approx(0.2))
    (never,) = stability(sequence([None, None])).first_detections
    assert never.seconds is None


def test_sequences_are_pooled_without_changes_between_them():
    # Track numbers of different clips are independent; the change from clip to clip is no jitter.
    report = stability(sequence([1, 1, 2]), sequence([5, 5]), sequence([None, None]))
    assert report.identity_switches == 1 and report.tracked == 5
    assert report.jitter["all"].samples == 3
    assert [d.sequence for d in report.first_detections] == [0, 1, 2]
    summary = report.summary()
    assert (summary["ground_truths_in_sight"], summary["ground_truths_detected"]) == (3, 2)
    assert summary["median_first_detection_s"] == 0 and summary["median_recovery_s"] is None


def test_recovery_after_occlusion_has_delay_and_identity():
    #                           visible     hidden        visible, missed, detected
    report = stability(sequence([1, 1, 1, None, None, None, 1, 1], hidden=(3, 4)))
    (recovery,) = report.recoveries
    assert recovery.hidden_seconds == pytest.approx(0.2)
    assert recovery.seconds == pytest.approx(0.1)
    assert recovery.same_id is True
    (other,) = stability(sequence([1, 1, None, 2], hidden=(2,))).recoveries
    assert other.seconds == 0 and other.same_id is False
    (lost,) = stability(sequence([1, 1, None, None, None], hidden=(2,))).recoveries
    assert lost.seconds is None and lost.same_id is None


def test_each_occlusion_is_evaluated_up_to_the_next():
    report = stability(sequence([1, None, None, None, 1], hidden=(1, 3)))
    assert [r.seconds for r in report.recoveries] == [None, 0]


def test_association_is_one_to_one_by_category_and_distance():
    ground_truths = [pose((0, 0, 1), 1), pose((0.1, 0, 1), 2), pose((0, 0, 1), 3, "mug")]
    estimates = [pose((0.06, 0, 1), 10), pose((0.0, 0, 1.02), 11), pose((0.5, 0, 1), 12, "mug")]
    found = associate(SequenceFrame(0.0, estimates, ground_truths))
    assert {instance: estimate.track_id for instance, estimate in found.items()} == {1: 11, 2: 10}


def test_invalid_sequences_are_refused():
    with pytest.raises(ValueError, match="increase"):
        stability([])
    with pytest.raises(ValueError, match="at least one"):
        stability()
    with pytest.raises(ValueError, match="increase"):
        stability(sequence([1, 1], step=0.0))
    with pytest.raises(ValueError, match="track_id"):
        stability([SequenceFrame(0.0, [], [pose((0, 0, 1), None)])])


@pytest.mark.parametrize("category", ["camera", "bottle"])
def test_the_coverage_of_a_calibrated_covariance_is_nominal(category):
    rng = np.random.default_rng(1)
    mix = rng.normal(size=(6, 6)) * np.array([0.01] * 3 + [0.02] * 3)[:, None]
    covariance = mix @ mix.T
    pairs, doubled = [], []
    for k in range(1500):
        error = mix @ rng.normal(size=6)
        ground_truth = pose((0, 0, 1), 1, category, Rotation.random(random_state=k).as_matrix())
        rotated = Rotation.from_rotvec(error[3:]).as_matrix() @ ground_truth.rotation
        if category == "bottle":  # a rotation about its own y axis is no error
            rotated = rotated @ Rotation.from_rotvec([0, rng.uniform(0, 6), 0]).as_matrix()
        pairs.append((pose(ground_truth.translation + error[:3], 1, category, rotated, covariance), ground_truth))
        doubled.append((pose(ground_truth.translation + error[:3], 1, category, rotated, covariance / 4), ground_truth))
    found = coverage(pairs, (0.5, 0.9))
    for share in (found.translation, found.rotation, found.joint):
        assert share == pytest.approx((0.5, 0.9), abs=0.04)
    assert found.samples == 1500
    overconfident = coverage(doubled, (0.9,))
    assert overconfident.translation[0] < 0.5 and overconfident.joint[0] < 0.3


def test_an_invalid_covariance_is_counted_and_left_out():
    certain = pose((0, 0, 1), 1, covariance=np.zeros((6, 6)))
    found = coverage([(certain, certain)])
    assert found.invalid == 1 and found.samples == 0
    assert np.isnan(found.joint).all()
