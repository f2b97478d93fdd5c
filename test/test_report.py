# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation: what it holds, what it leaves out and says so, and that it needs nothing else."""

import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from nocs_cases import BOTTLE, BOWL, CAMERA, CAN, LAPTOP, MUG, frame, item, perfect, pose

import seqpose_core
from seqpose_core.camera import Camera
from seqpose_core.metrics.nocs import evaluate
from seqpose_core.metrics.results import ResultError
from seqpose_core.objects import ObjectPose
from seqpose_core.report import Run, View, write_report
from seqpose_core.report.cases import worst_cases
from seqpose_core.report.factors import FACTORS, bins
from seqpose_core.report.intervals import LEVELS, covered
from seqpose_core.report.pictures import spread
from seqpose_core.visualize import crop

EYE = Camera(150, 150, 79.5, 59.5, 160, 120)
SECTIONS = (
    "tables", "ap-curves", "precision-recall", "frames", "confusion", "factors", "worst-cases", "calibration",
)  # fmt: skip


def run_of(results, kinds=("oriented",), **options):
    return Run(results, {kind: evaluate(results, kind) for kind in kinds}, **options)


def rich(count=8):
    """Frames of all categories with images' names, visible pixels, instances and covariances, and some faults."""
    rng = np.random.default_rng(3)
    out = []
    for k, result in enumerate(perfect(count)):
        moved = np.array(result["pred_RTs"])
        moved[:, :3, 3] += rng.normal(size=(6, 3)) * 0.04
        keep = np.arange(6) != k % 6  # one missed in each frame
        out.append(
            {
                **result,
                "image_path": f"test/clip{k // 4}/{k % 4:04d}",
                "gt_visible_pixels": rng.integers(20, 9000, 6),
                "gt_instance_ids": np.arange(1, 7),
                "pred_class_ids": np.where(np.arange(6) == (k + 1) % 6, MUG, result["pred_class_ids"])[keep],
                "pred_RTs": moved[keep],
                "pred_scales": result["pred_scales"][keep],
                "pred_scores": 0.4 + 0.5 * rng.random(5),
                "pred_covariances": np.tile(np.diag([4e-4] * 3 + [0.01] * 3), (5, 1, 1)),
            }
        )
    return out


def textured(keys):
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (160, 120))
    return {key: View(image, EYE) for key in keys}


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    out = tmp_path_factory.mktemp("full")
    facts = {"checkpoint": "<tiny> & co"}
    return write_report(out, "Report", "made-up boxes", {"multi": run_of(rich())}, textured, facts=facts)


class Reader(HTMLParser):
    """Everything of a page that could ask for something, and its text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.ids, self.targets, self.alts, self.words = [], [], [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join("".join(self.words).split())
        self.images = [base64.b64decode(t.partition(",")[2]) for t in self.targets if t.startswith("data:")]

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            assert not name.startswith("on"), f"<{tag} {name}> is a script"
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "srcset", "data", "action", "poster", "background", "cite", "formaction"):
                self.targets.append(value)
            if name == "alt":
                self.alts.append(value)
            if name == "style":
                assert "url" not in value

    def handle_data(self, data):
        self.words.append(data)


def test_the_page_asks_for_nothing_outside_of_itself(full):
    page = Reader(full)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert page.targets and all(re.match(r"data:image/png;base64,|#", target) for target in page.targets)
    assert {target[1:] for target in page.targets if target[0] == "#"} <= set(page.ids)
    style = full.read_text().partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert "://" not in full.read_text()


def test_all_sections_are_there_and_every_picture_decodes_and_lies_beside_the_page(full):
    page = Reader(full)
    assert tuple(i for i in page.ids if i in SECTIONS) == SECTIONS
    files = {path.read_bytes() for path in full.parent.glob("*.png")}
    assert files == set(page.images)
    for png in page.images:
        image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
        assert image is not None and image.std() > 1
    assert all(len(alt) > 20 for alt in page.alts) and len(page.alts) == len(page.images)


def test_the_head_names_data_frames_and_facts_as_they_are(full):
    text = Reader(full).text
    assert "measured on" in text and "made-up boxes" in text and "8 (multi)" in text
    assert "<tiny> & co" in text  # escaped in the source
    assert "multi, IoU oriented, made-up boxes" in text


def test_the_same_input_gives_the_same_bytes(full, tmp_path):
    facts = {"checkpoint": "<tiny> & co"}
    again = write_report(tmp_path, "Report", "made-up boxes", {"multi": run_of(rich())}, textured, facts=facts)
    for path in full.parent.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
    assert again.name == full.name


def test_results_without_images_covariances_pixels_and_some_truths_say_so(tmp_path):
    results = [frame([item(CAMERA), item(MUG, pose((0.3, 0, 1)))], [item(CAMERA, pose((0.01, 0, 1)))])]
    paper = [["A paper", *["1.5"] * 8, "original?"]]
    page = Reader(write_report(tmp_path, "Bare", "one frame", {"results": run_of(results)}, published=paper))
    text = page.text
    assert "As published, one frame" in text and "A paper" in text and "original?" in text
    assert "there is no truth of bottle, bowl, can, laptop" in text
    assert "images of the frames are not at hand" in text
    assert "do not say the visible pixels of their truths" in text
    assert "carry no covariances" in text
    assert "do not form sequences" in text
    assert "missed: mug at 1.04 m" in text  # the worst case in words


def test_a_run_without_predictions_and_half_its_images_is_all_missed_and_asks_for_images_once(tmp_path):
    asked = []

    def first(keys):
        asked.append(list(keys))
        return textured(["a/0"])

    results = [{**result, "image_path": f"a/{k}"} for k, result in enumerate(perfect(2))]
    results = [{**r, **{k: v[:0] for k, v in r.items() if k.startswith("pred_")}} for r in results]
    page = Reader(write_report(tmp_path, "Empty", "two frames", {"single": run_of(results)}, first))
    assert asked == [["a/0", "a/1"]]
    assert "there is not one prediction" in page.text
    assert "of 12 truths 0 were found with the right category, 0 with a wrong one, 12 missed; 0 false" in page.text
    assert sum(alt.startswith("Crop of frame a/0: missed") for alt in page.alts) == 6
    assert "images of 1 of these frames are not at hand" in page.text
    assert "images of 6 of these 12 cases are not at hand; in words" in page.text


def test_frames_without_truths_are_reported_without_curves(tmp_path):
    results = [{**frame([], [item(CAN, score=0.9)]), "image_path": "a/0"}]
    page = Reader(write_report(tmp_path, "No truth", "one frame", {"multi": run_of(results)}, textured))
    assert "there are no truths, so that there are no curves" in page.text
    assert "of 0 truths 0 were found" in page.text and "1 false" in page.text
    assert "no truth in the frame" in page.text


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        write_report(tmp_path, "None", "nothing", {})


def test_an_optional_key_of_the_wrong_shape_is_named():
    results = rich(1)
    results[0]["pred_covariances"] = np.zeros((5, 3, 3))
    with pytest.raises(ResultError, match=r"clip0/0000.*pred_covariances has shape \(5, 3, 3\), expected \(5, 6, 6\)"):
        covered(run_of(results))


def test_shown_frames_are_spread_over_the_set():
    assert spread(60, 12) == [2, 7, 12, 17, 22, 27, 32, 37, 42, 47, 52, 57]
    assert spread(3) == [0, 1, 2]
    assert spread(0) == []


def at(x, turn=(0, 0, 0), **options):
    return pose((x, 0, 1), turn, **options)


def test_confusion_pairs_nearest_centres_whatever_their_category():
    results = [
        frame(
            [item(CAMERA, at(0)), item(CAN, at(0.5)), item(MUG, at(1.0)), item(BOWL, at(2.0))],
            [
                item(CAMERA, at(0.1), score=0.9),  # farther from the camera than the laptop: false
                item(LAPTOP, at(0.02), score=0.5),
                item(CAN, at(0.5), score=0.6),
                item(MUG, at(1.25), score=0.8),  # 25 cm off: false, and the mug missed
                item(BOWL, at(2.0), score=0.2),  # below the least score
            ],
        )
    ]
    expected = np.zeros((7, 7), dtype=int)
    expected[CAMERA - 1, LAPTOP - 1] = expected[CAN - 1, CAN - 1] = 1
    expected[MUG - 1, 6] = expected[BOWL - 1, 6] = 1
    expected[6, CAMERA - 1] = expected[6, MUG - 1] = 1
    np.testing.assert_array_equal(run_of(results).pairing.confusion(), expected)


def test_bins_hold_recall_and_quartiles_of_the_truths_in_them():
    shifts = (0.01, 0.02, 0.03, 0.15)  # the last is found, but not within 10 cm
    results = [
        frame([item(CAMERA, pose((0, 0, 0.7)))], [item(CAMERA, pose((s, 0, 0.7), (0, 0, 20 * k)))])
        for k, s in enumerate(shifts)
    ]
    results.append(frame([item(CAMERA, pose((0, 0, 1.6)))]))
    distance, pixels, size = FACTORS
    found = bins(run_of(results), distance)
    assert found.labels == ["0.6–0.8", "1.5–2"]
    assert found.truths.tolist() == [4, 1]
    np.testing.assert_allclose(found.recall, [[75, 25], [0, 0]])
    np.testing.assert_allclose(found.centimetres[0], [1.75, 2.5, 6])
    np.testing.assert_allclose(found.degrees[0], [15, 30, 45], atol=1e-6)
    assert np.isnan(found.centimetres[1]).all()
    assert bins(run_of(results), pixels) is None
    # 0.2 x (0.6, 0.6, 0.5): a diagonal of 19.7 cm
    assert bins(run_of(results), size).labels == ["15–20"]


def test_bins_of_visible_pixels_leave_truths_out_whose_pixels_are_unknown():
    known = {**frame([item(CAMERA), item(CAN)]), "gt_visible_pixels": np.array([0, 300])}
    found = bins(run_of([known, frame([item(CAMERA)])]), FACTORS[1])
    assert found.labels == ["0", "200–500"] and found.truths.tolist() == [1, 1]


def test_coverage_counts_truths_within_the_claimed_regions():
    # Quantiles of chi-square: three degrees of freedom 4.642 at 80 %, 6.251 at 90 %; two 4.605 at 90 %, 5.991 at 95 %.
    shift, turn = 0.02 * np.sqrt(5.0), np.degrees(0.1 * np.sqrt(5.5))
    covariance = np.diag([4e-4] * 3 + [0.01] * 3)
    result = {
        **frame(
            [item(CAN), item(MUG, pose((0.5, 0, 1)), handle=0)],
            [item(CAN, pose((shift, 0, 1), (turn, 0, 0))), item(MUG, pose((0.5, 0, 1), (0, 170, 0)))],
        ),
        "pred_covariances": np.stack([covariance, covariance]),
    }
    found, hidden = covered(run_of([result]))
    assert (found.samples, hidden) == (1, 1)  # of the mug with a hidden handle, no turn is wrong
    inside = dict(zip(LEVELS, zip(found.translation, found.rotation, strict=True), strict=True))
    assert inside[0.8] == (0, 0) and inside[0.9] == (1, 0) and inside[0.95] == (1, 1)


def test_worst_cases_take_turns_and_name_what_is_wrong():
    tree = {"image_path": "a/0", "gt_visible_pixels": np.array([500, 70, 900, 80, 90, 100])}
    spots = [at(0.5 * k) for k in range(6)]
    truths = [item(kind, spot) for kind, spot in zip((BOTTLE, BOWL, CAMERA, CAN, LAPTOP, MUG), spots, strict=True)]
    predictions = [
        item(LAPTOP, at(0.5), score=0.7),  # of the bowl
        item(CAMERA, at(1.0, (0, 120, 0)), score=0.8),
        item(CAN, at(1.62), score=0.6),
        item(LAPTOP, at(2.0, scale=0.3), score=0.5),
        item(MUG, at(2.5), score=0.5),
        item(BOTTLE, at(9.0), score=0.95),
    ]
    found = worst_cases(run_of([{**frame(truths, predictions), **tree}]))
    assert [case.words for case in found] == [
        "missed: bottle at 1.00 m, 500 pixels visible",
        "false: bottle, score 0.95, nearest truth: mug, 650 cm away",
        "wrong category: bowl taken for laptop, score 0.70",
        "camera: rotation 120°, translation 0.0 cm, size 0 %, score 0.80",
        "can: translation 12.0 cm, rotation 0°, size 0 %, score 0.60",
        "laptop: size 50 %, rotation 0°, translation 0.0 cm, score 0.50",
    ]


def test_an_object_that_is_missed_again_and_again_comes_after_the_others():
    def missing(k, instances, pixels):
        keys = {"gt_instance_ids": np.array(instances), "gt_visible_pixels": np.array(pixels)}
        return {**frame([item(CAN) for _ in instances]), **keys, "image_path": f"clip/{k}"}

    results = [missing(k, [1, 2, 3], [1000 + k, 10, 0]) for k in range(3)]
    words = [case.words for case in worst_cases(run_of(results), 3)]
    # Most visible first: object 1 in the last frame, object 2, then object 1 again; 3 cannot be seen at all.
    assert [re.search(r"(\d+) pixels", w).group(1) for w in words] == ["1002", "10", "1001"]


def test_poses_that_cannot_be_drawn_count_as_false_and_stop_nothing(tmp_path):
    broken = [item(CAN, np.full((4, 4), np.nan)), item(CAN, pose(scale=0.0)), item(CAN, scales=(0, 0, 0))]
    run = run_of([{**frame([item(CAN)], broken), "image_path": "a/0"}])
    assert run.pairing.confusion()[[CAN - 1, 6], [6, CAN - 1]].tolist() == [1, 3]
    assert [case.kind for case in worst_cases(run)] == ["missed"]


def box(centre, size=0.1):
    return ObjectPose("can", 1.0, np.eye(3), np.array(centre), np.full(3, size), np.zeros((6, 6)))


def test_a_crop_and_its_camera_agree():
    rng = np.random.default_rng(1)
    image = cv2.resize(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC)
    for centre in ((0.1, 0.05, 1.0), (-0.5, 0.3, 1.0)):
        window, camera = crop(image, EYE, [box(centre)], 200)
        assert window.shape == (200, 200, 3) and (camera.width, camera.height) == (200, 200)
        for offset in ((0, 0), (0.04, -0.03)):
            point = np.array([centre[0] + offset[0], centre[1] + offset[1], centre[2]])
            (u, v), (x, y) = EYE.project(point), camera.project(point)
            seen = cv2.getRectSubPix(image, (1, 1), (float(u), float(v)))[0, 0].astype(int)
            there = cv2.getRectSubPix(window, (1, 1), (float(x), float(y)))[0, 0].astype(int)
            assert np.abs(seen - there).max() <= 6
    assert not (window == 205).all(axis=2).any()  # near a corner, yet no part of it is outside of the image


@pytest.mark.parametrize("centre", [(0, 0, -1.0), (5.0, 0, 1.0)])
def test_a_crop_of_what_is_not_in_the_image_shows_all_of_it(centre):
    image = np.full((120, 160, 3), 80, np.uint8)
    window, camera = crop(image, EYE, [box(centre)], 160)
    assert (window == 80).all(axis=2).sum() == 120 * 160
    np.testing.assert_allclose(camera.project((0, 0, 1.0)), (79.5, 79.5))


def test_matplotlib_is_imported_only_to_draw_and_pyplot_never():
    for path in Path(seqpose_core.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^(import|from) matplotlib", text, re.MULTILINE), path
        assert not re.search(r"import.*pyplot", text), path


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_without_network_shows_every_picture_and_never_scrolls_sideways(full, tmp_path, width):
    measure = (
        "<script>addEventListener('load', () => { document.title = [document.documentElement.scrollWidth,"
        " [...document.images].filter(i => i.naturalWidth > 0).length].join(' ') })</script></body>"
    )
    page = tmp_path / "measured.html"  # the report's own policy forbids scripts
    text = full.read_text(encoding="utf-8").replace("</body>", measure)
    page.write_text(re.sub("<meta http-equiv[^>]*>", "", text), encoding="utf-8")
    options = (
        "--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900", "--virtual-time-budget=5000",
    )  # fmt: skip
    done = subprocess.run([CHROMIUM, *options, "--dump-dom", page.as_uri()], capture_output=True, timeout=200)
    found = re.search(r"<title>(\d+) (\d+)</title>", done.stdout.decode())
    assert found, done.stderr.decode()[-2000:]
    assert int(found.group(1)) <= max(width, 500)  # some versions make no window narrower than 500 pixels
    assert int(found.group(2)) == len(Reader(full).images)
