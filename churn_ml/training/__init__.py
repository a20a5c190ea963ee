"""From labelled feature rows to a registered model: folds, selection, evaluation, gates."""
