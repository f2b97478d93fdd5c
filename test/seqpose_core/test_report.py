# SPDX-License-Identifier: Apache-2.0
"""The report of an evaluation: its content, notes on missing data, and that it loads nothing else."""

import base64
import importlib.util
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser_rig import CHROMIUM
from nocs_cases import CAMERA, CAN, MUG, frame, item, perfect, pose, run_of

import seqpose_core
from seqpose_core.camera import Camera
from seqpose_core.evaluation import Evaluation, View
from seqpose_core.metrics.results import ResultError
from seqpose_core.report import write_report
from seqpose_core.report.coverage import run_coverage
from seqpose_core.report.page import MissingPackageError
from seqpose_core.report.pictures import spread

EYE = Camera(150, 150, 79.5, 59.5, 160, 120)
SECTIONS = (
    "tables",
    "ap-curves",
    "precision-recall",
    "frames",
    "confusion",
    "factors",
    "worst-cases",
    "calibration",
)


def rich(count=8):
    """Frames of all categories with image paths, visible pixels, instances and covariances, and some errors."""
    rng = np.random.default_rng(3)
    out = []
    for k, result in enumerate(perfect(count)):
        moved = np.array(result["pred_RTs"])
        moved[:, :3, 3] += rng.normal(size=(6, 3)) * 0.04
        keep = np.arange(6) != k % 6  # one object missed in each frame
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
    evaluation = Evaluation("Report", "made-up boxes", {"multi": run_of(rich())}, facts, load_views=textured)
    return write_report(out, evaluation)


class Reader(HTMLParser):
    """Everything of a page that could load a resource, and its text."""

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


def test_the_page_loads_nothing_from_outside(full):
    page = Reader(full)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert page.targets and all(re.match(r"data:image/png;base64,|#", target) for target in page.targets)
    assert {target[1:] for target in page.targets if target[0] == "#"} <= set(page.ids)
    style = full.read_text().partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style and "@import" not in style
    assert "://" not in full.read_text()


def test_all_sections_exist_and_every_picture_decodes_and_is_a_file_next_to_the_page(full):
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
    evaluation = Evaluation("Report", "made-up boxes", {"multi": run_of(rich())}, facts, load_views=textured)
    again = write_report(tmp_path, evaluation)
    for path in full.parent.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
    assert again.name == full.name


def test_missing_images_covariances_pixels_and_ground_truth_are_noted(tmp_path):
    results = [frame([item(CAMERA), item(MUG, pose((0.3, 0, 1)))], [item(CAMERA, pose((0.01, 0, 1)))])]
    paper = [["A paper", *["1.5"] * 8, "original?"]]
    page = Reader(
        write_report(tmp_path, Evaluation("Bare", "one frame", {"results": run_of(results)}, paper_rows=paper))
    )
    text = page.text
    assert "From papers, one frame" in text and "A paper" in text and "original?" in text
    assert "there is no ground truth of bottle, bowl, can, laptop" in text
    assert "images of the frames are not available" in text
    assert "do not contain the visible pixels of their ground truth" in text
    assert "have no covariances" in text
    assert "do not form sequences" in text
    assert "missed: mug at 1.04 m" in text  # the worst case in words


def test_without_predictions_all_is_missed_and_the_images_are_loaded_once(tmp_path):
    requested = []

    def first(keys):
        requested.append(list(keys))
        return textured(["a/0"])

    results = [{**result, "image_path": f"a/{k}"} for k, result in enumerate(perfect(2))]
    results = [{**r, **{k: v[:0] for k, v in r.items() if k.startswith("pred_")}} for r in results]
    page = Reader(
        write_report(tmp_path, Evaluation("Empty", "two frames", {"single": run_of(results)}, load_views=first))
    )
    assert requested == [["a/0", "a/1"]]
    assert "there are no predictions" in page.text
    assert (
        "of 12 ground-truth objects 0 were detected with the right category, 0 with a wrong one, 12 missed; 0 false"
        in page.text
    )
    assert sum(alt.startswith("Crop of frame a/0: missed") for alt in page.alts) == 6
    assert "images of 1 of these frames are not available" in page.text
    assert "images of 6 of these 12 cases are not available; as text" in page.text


def test_frames_without_ground_truth_are_reported_without_curves(tmp_path):
    results = [{**frame([], [item(CAN, score=0.9)]), "image_path": "a/0"}]
    page = Reader(
        write_report(tmp_path, Evaluation("Empty", "one frame", {"multi": run_of(results)}, load_views=textured))
    )
    assert "there is no ground truth, so there are no curves" in page.text
    assert "of 0 ground-truth objects 0 were detected" in page.text and "1 false positives" in page.text
    assert "no ground truth in the frame" in page.text


@pytest.mark.parametrize("module", ["matplotlib", "jinja2"])
def test_without_its_packages_a_report_is_refused_with_the_command_that_installs_them(module, tmp_path, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == module else find_spec(name))
    with pytest.raises(MissingPackageError, match=rf"(?i){module}.*pip install 'seqpose\[report\]'"):
        write_report(tmp_path, Evaluation("Boxes", "one frame", {"multi": run_of(rich(1))}))


def test_a_report_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match="at least one run"):
        write_report(tmp_path, Evaluation("None", "nothing", {}))


def test_an_optional_key_of_the_wrong_shape_is_named():
    results = rich(1)
    results[0]["pred_covariances"] = np.zeros((5, 3, 3))
    with pytest.raises(ResultError, match=r"clip0/0000.*pred_covariances has shape \(5, 3, 3\), expected \(5, 6, 6\)"):
        run_coverage(run_of(results))


def test_shown_frames_are_spread_over_the_set():
    assert spread(60, 12) == [2, 7, 12, 17, 22, 27, 32, 37, 42, 47, 52, 57]
    assert spread(3) == [0, 1, 2]
    assert spread(0) == []


def test_matplotlib_and_jinja2_are_imported_only_to_write_a_report_and_pyplot_never():
    for path in Path(seqpose_core.__file__).parent.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^(import|from) (matplotlib|jinja2)", text, re.MULTILINE), path
        assert not re.search(r"import.*pyplot", text), path


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="needs Chromium")
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
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--window-size={width},900",
        "--virtual-time-budget=5000",
    )
    done = subprocess.run([CHROMIUM, *options, "--dump-dom", page.as_uri()], capture_output=True, timeout=200)
    found = re.search(r"<title>(\d+) (\d+)</title>", done.stdout.decode())
    assert found, done.stderr.decode()[-2000:]
    assert int(found.group(1)) <= max(width, 500)  # some versions make no window narrower than 500 pixels
    assert int(found.group(2)) == len(Reader(full).images)


def test_several_runs_are_drawn_in_the_same_axes_and_side_by_side(tmp_path):
    runs = {"ours": run_of(rich()), "other": run_of(rich())}
    page = Reader(write_report(tmp_path, Evaluation("Report", "made-up boxes", runs, load_views=textured)))
    assert "comparison" in page.ids
    curves = cv2.imread(str(tmp_path / f"comparison-ap-{next(iter(runs['ours'].ap_reports))}.png"))
    assert curves.shape[1] > 2 * curves.shape[0] * 0.9  # a grid of 3 x 7 axes
    single = cv2.imread(str(tmp_path / "frame-ours-clip0-0001.png"))
    both = cv2.imread(str(next(tmp_path.glob("comparison-frame-*.png"))))
    assert both.shape[1] == 2 * single.shape[1] and both.shape[0] > single.shape[0]
    left, right = np.hsplit(both[-single.shape[0] :], 2)
    assert np.array_equal(left, right)  # the same predictions


def test_a_single_run_is_not_compared(full):
    assert "comparison" not in Reader(full).ids
