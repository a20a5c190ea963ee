"""The feature contract, the stream of feature rows and the preprocessing of each model family."""
