"""The study through the SLURM profile on a real, private cluster: after each disturbance it equals the local run."""

import pytest
from cases import CASES

pytestmark = pytest.mark.slurm


@pytest.mark.parametrize("case", ["the local run", *CASES])
def test_case(outcomes, case):
    remarks, seconds = outcomes[case].result()
    print(f"\n{case}: as it should be after {seconds:.0f} s", *remarks, sep="\n    ")
