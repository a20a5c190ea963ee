"""``churn-ml`` of one instance in a folder of its own, as a process."""

import json
import os
import subprocess
import sys
from pathlib import Path

CANDIDATES = "base_rate,spline_logistic,pairwise_boosting"


class CommandLine:
    """Runs commands for the dataset of one instance."""

    def __init__(self, home: Path, dataset: str) -> None:
        self.home = home
        self.variables = {"CHURN_HOME": str(home), "CHURN_DATASET": dataset, "CHURN_CANDIDATES": CANDIDATES}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from churn_ml.cli import main; main()", *arguments],
            env=os.environ | self.variables,
            capture_output=True,
            text=True,
            check=False,
        )

    def result(self, *arguments: str) -> object:
        finished = self.run(*arguments, "--json")
        assert finished.returncode == 0, finished.stderr[-4000:]
        return json.loads(finished.stdout)
