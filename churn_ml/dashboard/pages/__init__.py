"""One page per file: ``show(night)`` draws it; the file name is its address and its exposure."""
