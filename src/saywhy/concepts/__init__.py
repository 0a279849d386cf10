"""Visual concepts: where the classifier's own activations draw lines in an image."""
