"""The refined head on photos of another kind: fitted on photos of single objects, measured on scenes with several.

    SAYWHY_DATA=/path/to/data python benchmarks/lcam_scenes.py [--explainer FOLDER] [--onnx]

SAYWHY_DATA names a folder with `imagenet300/images.jsonl` and `flickr600/images.jsonl`. The head is fitted on the first
(or read from an explainer that was), and measured on the photos of the second from number 300 on, as far as the
classifier sees a class there that it saw in none of the photos for fitting. Numbers 0 to 299 served to choose the
recipe; those measured here served for nothing else.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from lcam_photos import PLAIN
from lcam_rows import OF_THE_ORDER, Seen, Table, column, paired, photos_folder, raw_map, with_onnx
from saywhy.cli.options import fitted_parts
from saywhy.collection import find_images
from saywhy.image import read
from saywhy.lcam.fitting import fit_lcam
from saywhy.lcam.photos import read_photos
from saywhy.zoo import load_classifier

RESULT = Path(__file__).parent / "results" / "lcam_scenes.json"
CHOSEN_ON = 300  # the first photos, on which the recipe was chosen
SIZE = 30  # photos at once while measuring
ROWS = ("grad-cam", "cam^0.5", "sigmoid(cam)", "grad-cam++")
ABOUT = {"question": __doc__.split("\n")[0], "data": "flickr600 from number 300 on; fitted on imagenet300"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--explainer", type=Path, help="fitted on imagenet300 already")
    parser.add_argument("--again", nargs="*", default=[], metavar="ROW", help="measure these anew")
    parser.add_argument("--onnx", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULT)
    given = parser.parse_args()
    data = photos_folder()
    torch.set_num_threads(1)
    clf = load_classifier("efficientnet-lite0")
    quick = with_onnx(clf) if given.onnx else clf
    known, scenes = (find_images(data / name) for name in ("imagenet300", "flickr600"))
    seen_classes = set(read_photos(clf, known, crop=False)[0].predicted)
    scenes = scenes[CHOSEN_ON:]
    predicted = read_photos(clf, scenes, crop=False)[0].predicted
    where = [n for n, c in enumerate(predicted) if c not in seen_classes]
    head = fitted_parts(given.explainer, clf).lcam if given.explainer else fit_lcam(clf, known).lcam
    assert head is not None and head.form == "refined"
    about = {**ABOUT, "photos_from_300_on": len(scenes), "of_unseen_classes": len(where)}
    table = Table.opened(given.out, [i.path.name for i in scenes], about, given.again)
    for some in (where[k : k + SIZE] for k in range(0, len(where), SIZE)):
        seen = Seen(quick, clf.prepare([read(scenes[n].path) for n in some])[0])
        for name in ROWS:
            if table.lacks(name, some):
                row, order = PLAIN[name], None
                if row.order_of:
                    order = {k: torch.tensor(column(table.rows, row.order_of, k)[some]) for k in OF_THE_ORDER}
                table.put(name, some, seen.measured(row.maps(clf, seen.images), order_of=order), passes=row.passes)
        if table.lacks("refined", some):
            table.put("refined", some, seen.measured(raw_map(head, clf, seen.images)), passes=1)
        print(time.strftime("%H:%M:%S"), some[-1], flush=True)
    for other in ROWS:
        for metric in ("ad50-ranked", "ad15-ranked", "insertion-deletion"):
            gain, error, count = paired(table.rows, "refined", other, metric)
            print(f"refined minus {other}: {metric} {gain:+.3f} ± {error:.3f}, {count} photos")


if __name__ == "__main__":
    main()
