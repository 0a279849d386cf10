"""L-CAM: a saliency head that is fitted to one classifier with a few hundred photos."""
