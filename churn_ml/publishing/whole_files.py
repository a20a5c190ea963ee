"""Files that appear under their name when they are whole."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def appear_whole(path: Path) -> Iterator[Path]:
    """Give a path beside `path` to write to: it takes that name in the end, a failure leaves nothing."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        unfinished = Path(folder) / path.name
        yield unfinished
        unfinished.replace(path)
