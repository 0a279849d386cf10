"""Visual concepts: directions in a layer that recur over many pictures, where each is, and what each counts."""
