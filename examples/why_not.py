"""Why this class and not that one? The regions that decide between two classes."""

from pathlib import Path

import skimage

import saywhy

photo = Path(skimage.__file__).parent / "data" / "chelsea.png"
clf = saywhy.load_classifier()
explanation = saywhy.explain(clf, photo, target="Egyptian cat", versus="tiger cat")

print(explanation.text)
for region in sorted(explanation.concepts, key=lambda c: c.contrast or 0.0, reverse=True):
    print(f"region {region.id}, {region.place}: {100 * (region.contrast or 0.0):+.0f} points towards Egyptian cat")
