"""The part `graph`: the classifier's reasoning as graphs of concepts, traced by a student that decides as it does."""
