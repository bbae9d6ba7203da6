"""`python -m trainer` under FSDP without a GPU. The one thing in the way is that accelerate counts processes on
processors as MULTI_CPU and takes FSDP up for graphics cards and their like alone (AcceleratorState.__init__); so it is
told that these are cards. Cutting up, gathering, checkpoints: all that is FSDP's own runs as it is, over gloo."""

import sys
from pathlib import Path

from accelerate.state import PartialState
from accelerate.utils import DistributedType

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
PartialState._prepare_backend = lambda self, *_, **__: ("gloo", DistributedType.MULTI_GPU)

from trainer.__main__ import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
