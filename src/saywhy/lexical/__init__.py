"""Names of regions in ordinary words, for classifiers of ImageNet's classes, without anything that is fitted."""
